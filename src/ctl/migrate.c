/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl migrate up | down [STEPS] | status */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "store/migrate.h"

/* What was done: told at once to people, and in the end as JSON. */
struct progress {
    const struct ctl *ctl;
    struct json_object *items;
};

static void add_item(struct json_object *items, int version, const char *name, const char *what,
                     const char *at)
{
    char text[80];
    struct json_object *item = json_object_new_object();
    snprintf(text, sizeof(text), "%04d_%s", version, name);
    json_add_string(item, "migration", text);
    json_add_string(item, what, at);
    json_object_array_add(items, item);
}

static void report(const struct migration *migration, const char *what, void *argument)
{
    struct progress *progress = argument;
    add_item(progress->items, migration->version, migration->name, "done", what);
    if (!progress->ctl->json) {
        printf("%s %04d_%s\n", what, migration->version, migration->name);
        fflush(stdout);
    }
}

static int failed(const char *error)
{
    fprintf(stderr, "tallygatectl: migrate: %s\n", error);
    return CTL_FAILED;
}

static void tell_newer(int newest)
{
    if (newest > migrate_required()) {
        fprintf(
            stderr,
            "tallygatectl: migrate: the database is at version %d, later than this program knows (%d), and stays there\n",
            newest, migrate_required());
    }
}

static int end(const struct ctl *ctl, bool ok, struct json_object *all, const struct progress *progress,
               const char *error)
{
    if (!ok) {
        return failed(error);
    }
    if (ctl->json) {
        ctl_print(ctl, all, NULL);
    } else if (json_object_array_length(progress->items) == 0) {
        puts("nothing to do");
    }
    return CTL_OK;
}

static int show_status(const struct ctl *ctl, struct pg *pg)
{
    char error[MIGRATE_ERROR_SIZE];
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    struct migration_state *states = mem_zalloc(MIGRATIONS_COUNT, sizeof(*states));
    int newest;
    bool ok = migrate_status(pg, states, &newest, error);
    json_add(all, "items", items);
    for (size_t i = 0; ok && i < MIGRATIONS_COUNT; i++) {
        add_item(items, states[i].version, states[i].name, "applied_at",
                 states[i].applied ? states[i].applied_at : NULL);
    }
    free(states);
    if (ok) {
        ctl_print(ctl, all, NULL);
        tell_newer(newest);
    }
    return ok ? CTL_OK : failed(error);
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
    JSON_AUTO all = json_object_new_object();
    struct progress progress = {.ctl = ctl, .items = json_object_new_array()};
    json_add(all, "items", progress.items);
    if (argc == 2 && strcmp(argv[1], "status") == 0) {
        return show_status(ctl, pg);
    }
    if (argc == 2 && strcmp(argv[1], "up") == 0) {
        int newest = 0;
        bool ok =
            migrate_up(pg, report, &progress, &newest, error) && (pg == ctl->pg || grant(pg, ctl->pg, error));
        if (ok) {
            tell_newer(newest);
        }
        return end(ctl, ok, all, &progress, error);
    }
    if ((argc == 2 || argc == 3) && strcmp(argv[1], "down") == 0) {
        char *rest = NULL;
        long steps = argc == 3 ? strtol(argv[2], &rest, 10) : 1;
        if (steps < 1 || steps > (long)MIGRATIONS_COUNT || (rest && *rest)) {
            fprintf(stderr, "tallygatectl: STEPS must be from 1 to %zu\n", MIGRATIONS_COUNT);
            return CTL_USAGE;
        }
        bool ok = migrate_down(pg, (int)steps, report, &progress, error);
        return end(ctl, ok, all, &progress, error);
    }
    return ctl_usage(argv[0]);
}

int ctl_migrate(struct ctl *ctl, int argc, char **argv)
{
    struct pg *owner = ctl_owner(ctl);
    return owner ? run(ctl, owner, argc, argv) : CTL_FAILED;
}
