/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator's program. Each subcommand is one file and one row of the table in main.c.
 */
#ifndef TALLYGATE_CTL_CTL_H
#define TALLYGATE_CTL_CTL_H

#include "base/config.h"
#include "store/pg.h"

enum {
    CTL_OK = 0,
    CTL_FAILED = 1,    /* it could not be done; why was said on standard error */
    CTL_USAGE = 2,     /* the arguments are not understood */
    CTL_NOT_FOUND = 3, /* what the arguments name does not exist */
};

struct ctl {
    struct config *config;
    const char *config_path; /* NULL: all are defaults */
    struct pg *pg;
    const struct pg_options *options; /* of it */
    struct pg *owner;                 /* see ctl_owner(); NULL: not asked for yet */
    struct pg_options owner_options;
    bool json; /* what is found is printed as JSON (--json) */
};

struct ctl_command {
    const char *name;
    const char *usage; /* what follows the name */
    const char *help;
    int (*run)(struct ctl *ctl, int argc, char **argv); /* argv[0] is the name */
};

int ctl_audit(struct ctl *ctl, int argc, char **argv);
int ctl_backup(struct ctl *ctl, int argc, char **argv);
int ctl_bench(struct ctl *ctl, int argc, char **argv);
int ctl_config(struct ctl *ctl, int argc, char **argv);
int ctl_doctor(struct ctl *ctl, int argc, char **argv);
int ctl_events(struct ctl *ctl, int argc, char **argv);
int ctl_jobs(struct ctl *ctl, int argc, char **argv);
int ctl_key(struct ctl *ctl, int argc, char **argv);
int ctl_keys(struct ctl *ctl, int argc, char **argv);
int ctl_mail(struct ctl *ctl, int argc, char **argv);
int ctl_metrics(struct ctl *ctl, int argc, char **argv);
int ctl_migrate(struct ctl *ctl, int argc, char **argv);
int ctl_partition(struct ctl *ctl, int argc, char **argv);
int ctl_report(struct ctl *ctl, int argc, char **argv);
int ctl_restore(struct ctl *ctl, int argc, char **argv);
int ctl_service(struct ctl *ctl, int argc, char **argv);
int ctl_setup(struct ctl *ctl, int argc, char **argv);
int ctl_status(struct ctl *ctl, int argc, char **argv);
int ctl_user(struct ctl *ctl, int argc, char **argv);
int ctl_webhook(struct ctl *ctl, int argc, char **argv);
int ctl_workspace(struct ctl *ctl, int argc, char **argv);

/* Make an account whose password is read from standard input, and print it; `full_name` may be NULL. */
int ctl_user_add(struct ctl *ctl, const char *email, const char *full_name, bool admin);

/* One of the words that stand after a command. */
struct ctl_word {
    const char *name;
    int (*run)(struct ctl *ctl, int argc, char **argv); /* argv[0] is the word */
};
/* Run the one that argv[1] names; argv[0] is the command. */
int ctl_run_word(struct ctl *ctl, const struct ctl_word *words, size_t count, int argc, char **argv);

/* A connection as the owner of the schema (migration_url), which is ctl->pg where there is no other. It
 * belongs to `ctl`. NULL after saying why. */
struct pg *ctl_owner(struct ctl *ctl);
/* How it connects. */
const char *ctl_owner_url(const struct ctl *ctl);
/* Say on standard error what is wrong; returns CTL_FAILED. */
int ctl_fail(const char *command, const char *error);
/* Whether a text is a date as YYYY-MM-DD; else that is said. */
bool ctl_check_date(const char *option, const char *text);

/* Say how `command` is called; returns CTL_USAGE. */
int ctl_usage(const char *command);
/* Say that the database did not do it; returns CTL_FAILED. */
int ctl_database_failed(const char *what);

#endif
