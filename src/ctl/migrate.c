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

static int show_status(struct ctl *ctl)
{
    char error[MIGRATE_ERROR_SIZE];
    struct migration_state *states = mem_zalloc(MIGRATIONS_COUNT, sizeof(*states));
    bool ok = migrate_status(ctl->pg, states, error);
    for (size_t i = 0; ok && i < MIGRATIONS_COUNT; i++) {
        printf("%04d_%-24s %s\n", states[i].version, states[i].name,
               states[i].applied ? states[i].applied_at : "not applied");
    }
    free(states);
    return end(ok, 1, error);
}

int ctl_migrate(struct ctl *ctl, int argc, char **argv)
{
    char error[MIGRATE_ERROR_SIZE];
    int count = 0;
    if (argc == 2 && strcmp(argv[1], "status") == 0) {
        return show_status(ctl);
    }
    if (argc == 2 && strcmp(argv[1], "up") == 0) {
        bool ok = migrate_up(ctl->pg, report, &count, error);
        return end(ok, count, error);
    }
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "down") == 0) {
        char *rest = NULL;
        long steps = argc == 3 ? strtol(argv[2], &rest, 10) : 1;
        if (steps < 1 || steps > (long)MIGRATIONS_COUNT || (rest && *rest)) {
            fprintf(stderr, "tallygatectl: STEPS must be from 1 to %zu\n", MIGRATIONS_COUNT);
            return CTL_USAGE;
        }
        bool ok = migrate_down(ctl->pg, (int)steps, report, &count, error);
        return end(ok, count, error);
    }
    return ctl_usage(argv[0]);
}
