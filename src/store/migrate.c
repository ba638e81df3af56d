/* SPDX-License-Identifier: Apache-2.0 */
#include "store/migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/crypto.h"
#include "queries.h"

enum { LOCK_ATTEMPTS = 30 }; /* at a migration, while something holds what it needs */

/* "tallygat" in ASCII: a key of the advisory lock that no other program will choose. */
#define LOCK_KEY "8386098498063753588"

static const struct pg_statement EXISTS = {"migrate_exists",
                                           "SELECT to_regclass('schema_migrations') IS NOT NULL"};
static const struct pg_statement CURRENT = {"migrate_current",
                                            "SELECT coalesce(max(version), 0) FROM schema_migrations"};
static const struct pg_statement APPLIED = {
    "migrate_applied",
    "SELECT version, checksum, to_char(applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
    "FROM schema_migrations ORDER BY version"};
static const struct pg_statement RECORD = {
    "migrate_record", "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"};
static const struct pg_statement FORGET = {"migrate_forget",
                                           "DELETE FROM schema_migrations WHERE version = $1"};

static bool fail(char *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(char *ret_error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_error, MIGRATE_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

static const char *why(enum err e)
{
    return e == ERR_UNAVAILABLE ? "PostgreSQL is away or too slow; see the log line above"
                                : "see the log line above";
}

static void checksum(const struct migration *migration, char ret_hex[2 * CRYPTO_SHA256_SIZE + 1])
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    crypto_sha256(migration->up, strlen(migration->up), digest);
    crypto_hex(digest, sizeof(digest), ret_hex);
}

int migrate_required(void)
{
    return MIGRATIONS[MIGRATIONS_COUNT - 1].version;
}

enum err migrate_current(struct pg *pg, int *ret_version)
{
    PG_RESULT_AUTO exists = NULL;
    PG_RESULT_AUTO current = NULL;
    enum err e = pg_query(pg, &EXISTS, NULL, &exists);
    bool migrated = !e && pg_get_bool(exists, 0, 0);
    if (migrated) {
        e = pg_query(pg, &CURRENT, NULL, &current);
    }
    if (!e) {
        *ret_version = migrated ? (int)pg_get_int(current, 0, 0) : 0;
    }
    return e;
}

static bool lock(struct pg *pg, char *ret_error)
{
    enum err e = pg_script(pg, "SELECT pg_advisory_lock(" LOCK_KEY ");"
                               "CREATE TABLE IF NOT EXISTS schema_migrations ("
                               "version int PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
                               "applied_at timestamptz NOT NULL DEFAULT now())");
    return !e || fail(ret_error, "cannot start: %s", why(e));
}

static void unlock(struct pg *pg)
{
    (void)pg_script(pg, "SELECT pg_advisory_unlock(" LOCK_KEY ")"); /* ends with the session at the latest */
}

/* Compare what the database has with what we know; *ret_version is the newest applied of what we know, and
 * *ret_newest of all. */
static bool check_history(struct pg *pg, struct migration_state *ret_states, int *ret_version,
                          int *ret_newest, char *ret_error)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &APPLIED, NULL, &result);
    if (e) {
        return fail(ret_error, "cannot read schema_migrations: %s", why(e));
    }
    int rows = PQntuples(result);
    *ret_newest = rows ? (int)pg_get_int(result, rows - 1, 0) : 0;
    rows = rows > (int)MIGRATIONS_COUNT ? (int)MIGRATIONS_COUNT : rows;
    for (int i = 0; i < rows; i++) {
        const struct migration *migration = &MIGRATIONS[i];
        char expected[2 * CRYPTO_SHA256_SIZE + 1];
        checksum(migration, expected);
        if (pg_get_int(result, i, 0) != migration->version) {
            return fail(ret_error, "migration %d was never applied, but a later one was", migration->version);
        }
        if (strcmp(pg_get_text(result, i, 1), expected) != 0) {
            return fail(ret_error,
                        "migration %04d_%s was edited after it was applied; make a new one instead",
                        migration->version, migration->name);
        }
        if (ret_states) {
            ret_states[i].applied = true;
            snprintf(ret_states[i].applied_at, sizeof(ret_states[i].applied_at), "%s",
                     pg_get_text(result, i, 2));
        }
    }
    *ret_version = rows ? MIGRATIONS[rows - 1].version : 0;
    return true;
}

struct step {
    const struct migration *migration;
    bool up;
};

static enum err run_step(struct pg *pg, void *argument)
{
    const struct step *step = argument;
    struct pg_params params = {0};
    char hex[2 * CRYPTO_SHA256_SIZE + 1];

    /* Whoever waits for a lock holds up all behind it; and in a ring of waiters it is this that gives up,
     * before PostgreSQL looks for one (deadlock_timeout). */
    enum err e = pg_script(pg, "SET LOCAL lock_timeout = '500ms'");
    e = e ? e : pg_script(pg, step->up ? step->migration->up : step->migration->down);
    if (e) {
        return e;
    }
    pg_int(&params, step->migration->version);
    if (!step->up) {
        return pg_query(pg, &FORGET, &params, NULL);
    }
    checksum(step->migration, hex);
    pg_text(&params, step->migration->name);
    pg_text(&params, hex);
    return pg_query(pg, &RECORD, &params, NULL);
}

/* lock_not_available, deadlock_detected */
static bool is_held_up(const struct pg *pg)
{
    return strcmp(pg_sqlstate(pg), "55P03") == 0 || strcmp(pg_sqlstate(pg), "40P01") == 0;
}

static bool apply(struct pg *pg, struct step step, migrate_report *report, void *argument, char *ret_error)
{
    if (pg_generation(pg) != 1) {
        return fail(ret_error, "the connection was lost, and the lock with it; start again");
    }
    enum err e = pg_transaction(pg, run_step, &step);
    for (int i = 1; e && is_held_up(pg) && i < LOCK_ATTEMPTS; i++) {
        const struct timespec pause = {.tv_sec = 1};
        nanosleep(&pause, NULL);
        if (pg_ready(pg) != ERR_OK || pg_generation(pg) != 1) {
            return fail(ret_error, "the connection was lost, and the lock with it; start again");
        }
        e = pg_transaction(pg, run_step, &step);
    }
    if (e && is_held_up(pg)) {
        return fail(
            ret_error,
            "migration %04d_%s was rolled back: something holds a table, as a backup does; try again when it is over",
            step.migration->version, step.migration->name);
    }
    if (e) {
        return fail(ret_error, "migration %04d_%s failed and was rolled back (SQLSTATE %s): %s",
                    step.migration->version, step.migration->name, pg_sqlstate(pg), why(e));
    }
    report(step.migration, step.up ? "applied" : "reverted", argument);
    return true;
}

bool migrate_up(struct pg *pg, migrate_report *report, void *argument, int *ret_newest,
                char ret_error[MIGRATE_ERROR_SIZE])
{
    int version = 0;
    bool ok = lock(pg, ret_error) && check_history(pg, NULL, &version, ret_newest, ret_error);
    for (size_t i = (size_t)version; ok && i < MIGRATIONS_COUNT; i++) {
        ok = apply(pg, (struct step){&MIGRATIONS[i], true}, report, argument, ret_error);
    }
    unlock(pg);
    if (ok && *ret_newest < migrate_required()) {
        *ret_newest = migrate_required();
    }
    return ok;
}

enum err migrate_grant(struct pg *pg, const char *application_role)
{
    static const struct pg_statement NAME = {"migrate_role",
                                             "SELECT set_config('tallygate.application_role', $1, false)"};
    struct pg_params params = {0};
    pg_text(&params, application_role);
    enum err e = pg_query(pg, &NAME, &params, NULL);
    return e ? e : pg_script(pg, sql_grants);
}

bool migrate_down(struct pg *pg, int steps, migrate_report *report, void *argument,
                  char ret_error[MIGRATE_ERROR_SIZE])
{
    int version = 0, newest = 0;
    bool ok = lock(pg, ret_error) && check_history(pg, NULL, &version, &newest, ret_error);
    if (ok && newest > version) {
        ok = fail(ret_error, "the database is at version %d, which is newer than this program knows (%d)",
                  newest, migrate_required());
    }
    for (; ok && steps > 0 && version > 0; steps--, version--) {
        ok = apply(pg, (struct step){&MIGRATIONS[version - 1], false}, report, argument, ret_error);
    }
    unlock(pg);
    return ok;
}

bool migrate_status(struct pg *pg, struct migration_state *ret_states, int *ret_newest,
                    char ret_error[MIGRATE_ERROR_SIZE])
{
    int version = 0;
    *ret_newest = 0;
    for (size_t i = 0; i < MIGRATIONS_COUNT; i++) {
        ret_states[i] =
            (struct migration_state){.version = MIGRATIONS[i].version, .name = MIGRATIONS[i].name};
    }
    enum err e = migrate_current(pg, &version);
    if (e) {
        return fail(ret_error, "cannot read the version: %s", why(e));
    }
    return version == 0 || check_history(pg, ret_states, &version, ret_newest, ret_error);
}
