/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl: one table gives dispatch and usage. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ctl/ctl.h"

/* A migration may take long; an administrator can interrupt it. */
enum { STATEMENT_LIMIT_MS = 24 * 3600 * 1000 };

static const char DEFAULT_CONFIG[] = TALLYGATE_CONFDIR "/tallygate.conf";

static const struct ctl_command COMMANDS[] = {
    {"audit", "[OPTION]…", "what the audit log says", ctl_audit},
    {"backup", "make | list | verify BACKUP", "everything there is, in a directory of its own", ctl_backup},
    {"bench", "URL", "how many events this installation records in a second", ctl_bench},
    {"config", "check | show", "look at the settings", ctl_config},
    {"doctor", "[OPTION]…", "look at all that an installation needs, and say what to do", ctl_doctor},
    {"events",
     "archive --before DATE | check | export WORKSPACE | import FILE | prune --before DATE | rebuild-rollups",
     "events in and out of the database, and what was counted of them", ctl_events},
    {"jobs", "discard ID | list | put TYPE | retry ID | schedules | show ID",
     "background work, and when it is due", ctl_jobs},
    {"key", "add WORKSPACE NAME | list WORKSPACE | revoke WORKSPACE ID",
     "API keys of a workspace, by its slug or id", ctl_key},
    {"keys", "status | rotate [SECONDS]", "show the keys that sign tokens, or bring in the next one",
     ctl_keys},
    {"mail", "write DIRECTORY | follow DIRECTORY", "put the mails that wait into files", ctl_mail},
    {"metrics", "show | serve", "the counts of all pools as OpenMetrics, once or for a scraper", ctl_metrics},
    {"migrate", "up | down [STEPS] | status", "bring the schema to this version, back, or show it",
     ctl_migrate},
    {"partition", "keep [--strays] | list",
     "partitions of the events: make what is needed, archive and drop what is past", ctl_partition},
    {"report",
     "add WORKSPACE NAME | delete WORKSPACE ID | download WORKSPACE ID RUN | list WORKSPACE | run WORKSPACE ID | runs WORKSPACE ID | "
     "show WORKSPACE ID | status WORKSPACE ID RUN",
     "figures of a workspace as a file", ctl_report},
    {"restore", "BACKUP | --finish",
     "bring a backup into an empty database, and compare it; or finish what other means restored",
     ctl_restore},
    {"service", "add NAME | renew NAME | remove NAME | list", "programs that get tokens of their own",
     ctl_service},
    {"setup", "EMAIL", "make the first administrator", ctl_setup},
    {"status", "[OPTION]…", "the pools at a glance", ctl_status},
    {"user",
     "add EMAIL | delete WHO | disable WHO | enable WHO | list | logout WHO | passwd WHO | role WHO user|admin | sessions WHO | show WHO",
     "accounts; WHO is an address or an id", ctl_user},
    {"webhook",
     "add WORKSPACE URL|- | delete WORKSPACE ID | deliveries WORKSPACE ID | enable WORKSPACE ID | list WORKSPACE | pause WORKSPACE ID | "
     "redeliver WORKSPACE ID DELIVERY | rotate WORKSPACE ID | show WORKSPACE ID | test WORKSPACE ID",
     "who hears of a workspace's events", ctl_webhook},
    {"workspace",
     "add WHO NAME | delete WORKSPACE | list | members WORKSPACE | purge | rename WORKSPACE NAME | show WORKSPACE",
     "workspaces, by their slug or id", ctl_workspace},
};

static void print_usage(FILE *out)
{
    fputs("usage: tallygatectl [--config FILE] [--json] COMMAND …\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        fprintf(out, "  %s %s\n        %s\n", COMMANDS[i].name, COMMANDS[i].usage, COMMANDS[i].help);
    }
}

static void print_forms(FILE *out, const struct ctl_command *command)
{
    fprintf(out, "usage: tallygatectl %s %s\n", command->name, command->usage);
}

int ctl_usage(const char *command)
{
    for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].name, command) == 0) {
            print_forms(stderr, &COMMANDS[i]);
        }
    }
    return CTL_USAGE;
}

int ctl_database_failed(const char *what)
{
    fprintf(stderr, "tallygatectl: %s: the database did not do it; see the line above\n", what);
    return CTL_FAILED;
}

int ctl_fail(const char *command, const char *error)
{
    fprintf(stderr, "tallygatectl: %s: %s\n", command, error);
    return CTL_FAILED;
}

bool ctl_check_date(const char *option, const char *text)
{
    int64_t us;
    bool fine = clock_parse_date(text, strlen(text), &us);
    if (!fine) {
        fprintf(stderr, "tallygatectl: --%s must be a date as in 2026-01-31\n", option);
    }
    return fine;
}

int ctl_run_word(struct ctl *ctl, const struct ctl_word *words, size_t count, int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < count; i++) {
        if (strcmp(argv[1], words[i].name) == 0) {
            return words[i].run(ctl, argc - 1, argv + 1);
        }
    }
    return ctl_usage(argv[0]);
}

const char *ctl_owner_url(const struct ctl *ctl)
{
    return *ctl->config->migration_url ? ctl->config->migration_url : ctl->config->database_url;
}

struct pg *ctl_owner(struct ctl *ctl)
{
    const char *reason;
    if (!*ctl->config->migration_url) {
        return ctl->pg;
    }
    if (!ctl->owner) {
        if (!pg_url_valid(ctl->config->migration_url, &reason)) {
            fprintf(stderr, "tallygatectl: migration_url: %s\n", reason);
            return NULL;
        }
        ctl->owner_options = *ctl->options;
        ctl->owner_options.url = ctl->config->migration_url;
        ctl->owner = pg_new(&ctl->owner_options);
    }
    return ctl->owner;
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(COMMANDS); i++) {
        if (strcmp(COMMANDS[i].name, name) == 0) {
            return &COMMANDS[i];
        }
    }
    return NULL;
}

static int run(const struct ctl_command *command, const char *config_path, bool json, int argc, char **argv)
{
    struct config config = {0};
    char error[CONFIG_ERROR_SIZE];
    const char *reason;
    bool fine = config_load(&config, config_path, error);
    if (fine && !pg_url_valid(config.database_url, &reason)) {
        snprintf(error, sizeof(error), "database_url: %s", reason);
        fine = false;
    }
    if (!fine) {
        fprintf(stderr, "tallygatectl: %s\n", error);
        config_free(&config);
        return CTL_FAILED;
    }
    log_setup("tallygatectl", NULL, (enum log_level)config.log_level);
    const struct pg_options options = {
        .url = config.database_url,
        .application_name = "tallygatectl",
        .connect_timeout_s = config.database_connect_timeout_s,
        .statement_timeout_ms = STATEMENT_LIMIT_MS,
        .as_role = true,
    };
    struct ctl ctl = {.config = &config,
                      .config_path = config_path,
                      .pg = pg_new(&options),
                      .options = &options,
                      .json = json};
    int code = command->run(&ctl, argc, argv);
    pg_free(ctl.owner);
    pg_free(ctl.pg);
    config_free(&config);
    return code;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    static const struct rlimit NO_CORE = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &NO_CORE); /* the memory may hold secrets */
    const char *config_path = access(DEFAULT_CONFIG, F_OK) == 0 ? DEFAULT_CONFIG : NULL;
    bool json = false;
    int option;
    /* The plus stops at the command, whose options are its own. */
    while ((option = getopt_long(argc, argv, "+c:hV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'V':
            puts("tallygatectl " PACKAGE_VERSION);
            return CTL_OK;
        case 'h':
            print_usage(stdout);
            return CTL_OK;
        default:
            print_usage(stderr);
            return CTL_USAGE;
        }
    }
    const struct ctl_command *command = find_command(argv[optind]);
    if (!command && argv[optind]) {
        fprintf(stderr, "tallygatectl: there is no command %s; see tallygatectl --help\n", argv[optind]);
        return CTL_USAGE;
    }
    if (!command) {
        print_usage(stderr);
        return CTL_USAGE;
    }
    /* Also behind a word of the command: the options are in the page. */
    if (argc > optind + 1 && strcmp(argv[argc - 1], "--help") == 0) {
        print_forms(stdout, command);
        printf("%s; see tallygatectl(8)\n", command->help);
        return CTL_OK;
    }
    return run(command, config_path, json, argc - optind, argv + optind);
}
