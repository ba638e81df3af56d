/* SPDX-License-Identifier: Apache-2.0 */
#include "work/schedule.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "work/cron.h"
#include "work/queue.h"

static const struct pg_statement INSTALL = {
    "schedule_install",
    "INSERT INTO schedules AS s (name, cron, timezone, type) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE "
    "SET cron = excluded.cron, timezone = excluded.timezone, type = excluded.type, next_at = CASE WHEN "
    "(s.cron, s.timezone, s.type) = (excluded.cron, excluded.timezone, excluded.type) AND s.next_at <= now() THEN s.next_at END"};
/* One process at a time; the others find nothing to do. */
static const struct pg_statement LOCK = {"schedule_lock",
                                         "SELECT pg_try_advisory_xact_lock(hashtext('schedules'))"};
/* Also those whose last time is to come: the clock was ahead, and their next time is by that. */
static const struct pg_statement DUE = {
    "schedule_due",
    "SELECT name, cron, timezone, type, payload::text, coalesce(next_at <= now(), false), to_char(now() AT TIME ZONE timezone, 'YYYY-MM-DD-HH24-MI'), "
    "to_char(next_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI\"Z\"') "
    "FROM schedules WHERE next_at IS NULL OR next_at <= now() OR last_at > now() + interval '1 minute' ORDER BY next_at NULLS FIRST, name LIMIT 100"};
static const struct pg_statement NEXT = {
    "schedule_next",
    "UPDATE schedules SET next_at = make_timestamp($2::int, $3::int, $4::int, $5::int, $6::int, 0) AT TIME ZONE timezone, "
    "last_at = CASE WHEN $7::bigint > 0 THEN now() WHEN last_at > now() THEN now() ELSE last_at END, "
    "last_job_id = CASE WHEN $7::bigint > 0 THEN $7::bigint ELSE last_job_id END WHERE name = $1"};
static const struct pg_statement NEVER = {"schedule_never",
                                          "UPDATE schedules SET next_at = 'infinity' WHERE name = $1"};

enum { NAME, CRON, TIMEZONE, TYPE, PAYLOAD, DUE_NOW, LOCAL, DUE_AT };

struct installing {
    const struct schedule *schedules;
    size_t count;
};

static enum err install(struct pg *pg, void *argument)
{
    const struct installing *installing = argument;
    enum err e = ERR_OK;
    for (size_t i = 0; !e && i < installing->count; i++) {
        const struct schedule *schedule = &installing->schedules[i];
        struct pg_params params = {0};
        pg_text(&params, schedule->name);
        pg_text(&params, schedule->cron);
        pg_text(&params, schedule->timezone);
        pg_text(&params, schedule->type);
        e = pg_query(pg, &INSTALL, &params, NULL);
    }
    return e;
}

enum err schedule_install(struct pg *pg, const struct schedule *schedules, size_t count)
{
    struct installing installing = {schedules, count};
    return pg_transaction(pg, install, &installing);
}

/* When it is due next, after now by the clock of its zone. */
static enum err set_next(struct pg *pg, const PGresult *rows, int row, int64_t job_id)
{
    struct cron cron;
    struct cron_time now, next;
    const char *reason = "it is never due";
    struct pg_params params = {0};
    const char *name = pg_get_text(rows, row, NAME);
    bool fine = cron_parse(pg_get_text(rows, row, CRON), &cron, &reason) &&
                sscanf(pg_get_text(rows, row, LOCAL), "%d-%d-%d-%d-%d", &now.year, &now.month, &now.day,
                       &now.hour, &now.minute) == 5 &&
                cron_next(&cron, &now, &next);
    pg_text(&params, name);
    if (!fine) {
        log_error("schedule %s: %s", name, reason);
        return pg_query(pg, &NEVER, &params, NULL);
    }
    pg_int(&params, next.year);
    pg_int(&params, next.month);
    pg_int(&params, next.day);
    pg_int(&params, next.hour);
    pg_int(&params, next.minute);
    pg_int(&params, job_id);
    return pg_query(pg, &NEXT, &params, NULL);
}

static enum err put_due(struct pg *pg, void *argument)
{
    PG_RESULT_AUTO lock = NULL;
    PG_RESULT_AUTO rows = NULL;
    (void)argument;
    enum err e = pg_query(pg, &LOCK, NULL, &lock);
    if (e || !pg_get_bool(lock, 0, 0)) {
        return e;
    }
    e = pg_query(pg, &DUE, NULL, &rows);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        int64_t job_id = 0;
        if (pg_get_bool(rows, row, DUE_NOW)) {
            char key[160];
            snprintf(key, sizeof(key), "schedule:%s",
                     pg_get_text(rows, row, NAME)); /* one that still runs is enough */
            const struct queue_order order = {.type = pg_get_text(rows, row, TYPE),
                                              .payload = pg_get_text(rows, row, PAYLOAD),
                                              .priority = 1,
                                              .unique_key = key};
            e = queue_put(pg, &order, &job_id);
            if (!e && !job_id) {
                log_warn("schedule %s was due at %s, and its last job still waits or runs",
                         pg_get_text(rows, row, NAME), pg_get_text(rows, row, DUE_AT));
            }
        }
        e = e ? e : set_next(pg, rows, row, job_id);
    }
    return e;
}

enum err schedule_run(struct pg *pg)
{
    return pg_transaction(pg, put_due, NULL);
}
