/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl migrate up | down [STEPS] | status */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/ctl.h"
#include "store/migrate.h"

static void report(const struct migration *migration, const char *what, void *argument)
{
    int *count = argument;
    (*count)++;
    printf("%s %04d_%s\n", what, migration->version, migration->name);
    fflush(stdout);
}

static int end(bool ok, int count, const char *error)
{
    if (!ok) {
        fprintf(stderr, "tallygatectl: migrate: %s\n", error);
        return CTL_FAILED;
    }
    if (count == 0) {
        puts("nothing to do");
    }
    return CTL_OK;
}

static int show_status(struct pg *pg)
{
    char error[MIGRATE_ERROR_SIZE];
    struct migration_state *states = mem_zalloc(MIGRATIONS_COUNT, sizeof(*states));
    bool ok = migrate_status(pg, states, error);
    for (size_t i = 0; ok && i < MIGRATIONS_COUNT; i++) {
        printf("%04d_%-24s %s\n", states[i].version, states[i].name,
               states[i].applied ? states[i].applied_at : "not applied");
    }
    free(states);
    return end(ok, 1, error);
}

/* The role of the pools, when it is another one than the owner, gets what it needs. */
static bool grant(struct pg *owner, struct pg *application, char *ret_error)
{
    static const struct pg_statement WHO = {"migrate_who", "SELECT current_user"};
    PG_RESULT_AUTO owner_name = NULL;
    PG_RESULT_AUTO name = NULL;
    enum err e = pg_query(owner, &WHO, NULL, &owner_name);
    e = e ? e : pg_query(application, &WHO, NULL, &name);
    if (!e && strcmp(pg_get_text(owner_name, 0, 0), pg_get_text(name, 0, 0)) != 0) {
        e = migrate_grant(owner, pg_get_text(name, 0, 0));
    }
    if (e) {
        snprintf(ret_error, MIGRATE_ERROR_SIZE, "the role of database_url could not be given what it needs");
    }
    return !e;
}

static int run(const struct ctl *ctl, struct pg *pg, int argc, char **argv)
{
    char error[MIGRATE_ERROR_SIZE];
    int count = 0;
    if (argc == 2 && strcmp(argv[1], "status") == 0) {
        return show_status(pg);
    }
    if (argc == 2 && strcmp(argv[1], "up") == 0) {
        bool ok = migrate_up(pg, report, &count, error) && (pg == ctl->pg || grant(pg, ctl->pg, error));
        return end(ok, count, error);
    }
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "down") == 0) {
        char *rest = NULL;
        long steps = argc == 3 ? strtol(argv[2], &rest, 10) : 1;
        if (steps < 1 || steps > (long)MIGRATIONS_COUNT || (rest && *rest)) {
            fprintf(stderr, "tallygatectl: STEPS must be from 1 to %zu\n", MIGRATIONS_COUNT);
            return CTL_USAGE;
        }
        bool ok = migrate_down(pg, (int)steps, report, &count, error);
        return end(ok, count, error);
    }
    return ctl_usage(argv[0]);
}

int ctl_migrate(struct ctl *ctl, int argc, char **argv)
{
    const struct config *config = ctl->config;
    const char *reason;
    if (!*config->migration_url) {
        return run(ctl, ctl->pg, argc, argv);
    }
    if (!pg_url_valid(config->migration_url, &reason)) {
        fprintf(stderr, "tallygatectl: migration_url: %s\n", reason);
        return CTL_FAILED;
    }
    struct pg_options options = *ctl->options;
    options.url = config->migration_url;
    struct pg *owner = pg_new(&options);
    int code = run(ctl, owner, argc, argv);
    pg_free(owner);
    return code;
}
