/* SPDX-License-Identifier: Apache-2.0 */
#include "work/jobs.h"

#include <string.h>

#include "base/json.h"

#define UTC(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
/* As JSON, which is printed as it is. */
#define ITEM(state, run_at, started, finished)                                                              \
    "json_build_object('id', id, 'type', type, 'state', " state ", 'attempts', attempts, 'run_at', " run_at \
    ", 'started_at', " started ", 'finished_at', " finished ", 'progress', progress, 'error', "
#define LIVE_ITEM ITEM("state", UTC("run_at"), UTC("started_at"), "NULL::text") "error, 'payload', payload)"
#define DONE_ITEM \
    ITEM("'done'", "NULL::text", UTC("started_at"), UTC("finished_at")) "NULL::text, 'payload', payload)"

static const struct pg_statement LIST = {
    "jobs_list", "SELECT " LIVE_ITEM
                 " FROM jobs WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR type = $2) "
                 "ORDER BY id DESC LIMIT $3::bigint"};
static const struct pg_statement LIST_DONE = {
    "jobs_list_done",
    "SELECT " DONE_ITEM
    " FROM jobs_done WHERE ($1::text IS NULL OR type = $1) ORDER BY id DESC LIMIT $2::bigint"};
static const struct pg_statement SHOW = {"jobs_show", "SELECT " LIVE_ITEM
                                                      " FROM jobs WHERE id = $1 UNION ALL SELECT " DONE_ITEM
                                                      " FROM jobs_done WHERE id = $1 LIMIT 1"};
static const struct pg_statement RETRY = {
    "jobs_retry",
    "UPDATE jobs SET state = 'waiting', attempts = 0, run_at = now() WHERE id = $1 AND state = 'dead' RETURNING " LIVE_ITEM};
static const struct pg_statement DISCARD = {
    "jobs_discard", "DELETE FROM jobs WHERE id = $1 AND state <> 'running' RETURNING " LIVE_ITEM};
static const struct pg_statement PUT = {
    "jobs_put", "INSERT INTO jobs (type, payload, priority) SELECT $1, coalesce($2, '{}')::jsonb, $3 "
                "FROM generate_series(1, $4::bigint)"};
static const struct pg_statement SCHEDULES = {
    "jobs_schedules",
    "SELECT json_build_object('name', name, 'cron', cron, 'timezone', timezone, 'type', type, 'next_at', " UTC(
        "nullif(next_at, 'infinity')") ", 'last_at', " UTC("last_at") ", 'last_job_id', last_job_id) FROM schedules ORDER BY name"};

static struct json_object *item_of(const PGresult *rows, int row)
{
    struct json_object *item = NULL;
    struct json_fault fault;
    const char *text = pg_get_text(rows, row, 0);
    (void)json_parse(text, strlen(text), &item, &fault);
    return item;
}

static struct json_object *items_of(const PGresult *rows)
{
    struct json_object *all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    for (int row = 0; row < PQntuples(rows); row++) {
        json_object_array_add(items, item_of(rows, row));
    }
    json_add(all, "items", items);
    return all;
}

enum err jobs_list(struct pg *pg, const char *state, const char *type, int64_t limit,
                   struct json_object **ret_jobs)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    bool done = state && strcmp(state, "done") == 0;
    if (!done) {
        pg_text(&params, state);
    }
    pg_text(&params, type);
    pg_int(&params, limit);
    enum err e = pg_query(pg, done ? &LIST_DONE : &LIST, &params, &rows);
    if (!e) {
        *ret_jobs = items_of(rows);
    }
    return e;
}

static enum err about(struct pg *pg, const struct pg_statement *statement, int64_t id,
                      struct json_object **ret_job)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, id);
    enum err e = pg_query(pg, statement, &params, &rows);
    if (!e && PQntuples(rows) == 0) {
        return ERR_NOT_FOUND;
    }
    if (!e) {
        *ret_job = item_of(rows, 0);
    }
    return e;
}

enum err jobs_show(struct pg *pg, int64_t id, struct json_object **ret_job)
{
    return about(pg, &SHOW, id, ret_job);
}

enum err jobs_retry(struct pg *pg, int64_t id, struct json_object **ret_job)
{
    return about(pg, &RETRY, id, ret_job);
}

enum err jobs_discard(struct pg *pg, int64_t id, struct json_object **ret_job)
{
    return about(pg, &DISCARD, id, ret_job);
}

enum err jobs_put(struct pg *pg, const struct queue_order *order, int64_t count)
{
    struct pg_params params = {0};
    pg_text(&params, order->type);
    pg_text(&params, order->payload);
    pg_int(&params, order->priority);
    pg_int(&params, count);
    return pg_query(pg, &PUT, &params, NULL);
}

enum err jobs_schedules(struct pg *pg, struct json_object **ret_schedules)
{
    PG_RESULT_AUTO rows = NULL;
    enum err e = pg_query(pg, &SCHEDULES, NULL, &rows);
    if (!e) {
        *ret_schedules = items_of(rows);
    }
    return e;
}
