/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/background.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "work/types.h"

/* A job as JSON: PostgreSQL makes it, and it is handed on. */
#define ITEM(state, priority, run_at, finished, error)                                    \
    "json_build_object('id', id, 'type', type, 'state', " state ", 'priority', " priority \
    ", 'attempts', attempts, 'run_at', " run_at                                           \
    ", 'started_at', " PG_UTC("started_at") ", 'finished_at', " finished                  \
                                            ", 'progress', progress, 'error', " error     \
                                            ", 'payload', payload)"
#define LIVE ITEM("state", "priority", PG_UTC("run_at"), "NULL::text", "error")
#define DONE ITEM("'done'", "NULL::int", "NULL::text", PG_UTC("finished_at"), "NULL::text")

static const struct pg_statement LIST = {
    "background_list",
    "SELECT id, " LIVE " FROM jobs WHERE ($1::bigint = 0 OR id < $1) AND ($3::text IS NULL OR state = $3) "
    "AND ($4::text IS NULL OR type = $4) ORDER BY id DESC LIMIT $2::bigint"};
static const struct pg_statement LIST_DONE = {
    "background_list_done",
    "SELECT id, " DONE " FROM jobs_done WHERE ($1::bigint = 0 OR id < $1) AND $3::text = 'done' "
    "AND ($4::text IS NULL OR type = $4) ORDER BY id DESC LIMIT $2::bigint"};
static const struct pg_statement SHOW = {
    "background_show", "SELECT id, " LIVE " FROM jobs WHERE id = $1 UNION ALL SELECT id, " DONE
                       " FROM jobs_done WHERE id = $1 LIMIT 1"};
static const struct pg_statement PUT = {
    "background_put",
    "INSERT INTO jobs (type, payload, priority, run_at, trace) "
    "VALUES ($1, coalesce($2, '{}')::jsonb, $3, greatest($4::timestamptz, now()), nullif($5, '')) "
    "RETURNING id, jsonb_build_object('type', type), " LIVE};
static const struct pg_statement RETRY = {
    "background_retry",
    "UPDATE jobs SET state = 'waiting', attempts = 0, run_at = now() WHERE id = $1 AND state = 'dead' "
    "RETURNING id, jsonb_build_object('type', type), " LIVE};
static const struct pg_statement DISCARD = {"background_discard",
                                            "DELETE FROM jobs WHERE id = $1 AND state <> 'running' "
                                            "RETURNING id, jsonb_build_object('type', type, 'state', state)"};
static const struct pg_statement SCHEDULES = {
    "background_schedules",
    "SELECT name, json_build_object('name', name, 'cron', cron, 'timezone', timezone, 'type', type, 'next_at', " PG_UTC(
        "nullif(next_at, 'infinity')") ", 'last_at', " PG_UTC("last_at") ", 'last_job_id', last_job_id) FROM schedules ORDER BY name"};

static enum err no_such_job(struct request *request)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "There is no such job.");
}

static const char *check_state(const char *text, size_t length)
{
    static const char *const STATES[] = {"waiting", "running", "dead", "done"};
    (void)length;
    for (size_t i = 0; i < sizeof(STATES) / sizeof(*STATES); i++) {
        if (strcmp(text, STATES[i]) == 0) {
            return NULL;
        }
    }
    return "must be waiting, running, dead or done";
}

enum err background_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {KEYSET_FIELDS,
                                         {"state", FIELD_STRING, 0, 1, 20, check_state},
                                         {"type", FIELD_STRING, 0, 1, 100, NULL}};
    enum { STATE = KEYSET_COUNT, TYPE, COUNT };
    struct value values[COUNT];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    enum err e = validate_query(request, QUERY, COUNT, values);
    if (e) {
        return e;
    }
    bool done = values[STATE].text && strcmp(values[STATE].text, "done") == 0;
    keyset_params(&params, values);
    pg_text(&params, values[STATE].text);
    pg_text(&params, values[TYPE].text);
    e = pg_query(request->services->pg, done ? &LIST_DONE : &LIST, &params, &rows);
    if (!e) {
        keyset_answer(response, values, rows, keyset_made);
    }
    return e;
}

enum err background_show(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, request_param_int(request, "id"));
    enum err e = pg_query(request->services->pg, &SHOW, &params, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) == 0) {
        return no_such_job(request);
    }
    JSON_AUTO job = keyset_json(row, 0, 1);
    response_json(response, 200, job);
    return ERR_OK;
}

static const char *check_type(const char *text, size_t length)
{
    return strlen(text) == length && work_type_exists(text) ? NULL
                                                            : "is no type of jobs; see tallygate-jobd(8)";
}

enum err background_put(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"type", FIELD_STRING, FIELD_REQUIRED, 1, 100, check_type},
        {"payload", FIELD_OBJECT, FIELD_NULLABLE, 0, 0, NULL},
        {"priority", FIELD_INTEGER, 0, 0, QUEUE_PRIORITIES - 1, NULL},
        {"run_at", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
    };
    enum { TYPE, PAYLOAD, PRIORITY, RUN_AT, COUNT };
    struct value values[COUNT];
    char run_at[CLOCK_TEXT_SIZE];
    size_t length;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO made = NULL;
    const struct audit_change change = {
        .statement = &PUT, .params = &params, .action = "job.created", .kind = "job", .detail_column = 1};
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    const char *code = values[PAYLOAD].json ? json_unstorable(values[PAYLOAD].json) : NULL;
    if (code) {
        return problem_field(&request->problem, "payload", code,
                             "must have no U+0000 in a string and no number that cannot be stored");
    }
    bool later = values[RUN_AT].present && !values[RUN_AT].is_null;
    if (later) {
        clock_format(values[RUN_AT].integer, run_at);
    }
    pg_text(&params, values[TYPE].text);
    pg_text(&params, values[PAYLOAD].json ? json_text(values[PAYLOAD].json, &length) : NULL);
    pg_int(&params, values[PRIORITY].present ? values[PRIORITY].integer : 1);
    pg_text(&params, later ? run_at : NULL);
    pg_text(&params, request->traceparent);
    e = audit_carry_out(request, &change, &made);
    if (!e) {
        JSON_AUTO job = keyset_json(made, 0, 2);
        response_json(response, 201, job);
    }
    return e;
}

/* Why a statement about a job changed nothing. */
static enum err explain(struct request *request, int64_t id, const char *words)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, id);
    enum err e = pg_query(request->services->pg, &SHOW, &params, &row);
    if (e) {
        return e;
    }
    return PQntuples(row) ? problem_say(&request->problem, ERR_CONFLICT, "%s", words) : no_such_job(request);
}

static enum err change(struct request *request, const struct pg_statement *statement, const char *action,
                       const char *words, PGresult **ret_changed)
{
    struct pg_params params = {0};
    int64_t id = request_param_int(request, "id");
    const struct audit_change change = {
        .statement = statement, .params = &params, .action = action, .kind = "job", .detail_column = 1};
    pg_int(&params, id);
    enum err e = audit_carry_out(request, &change, ret_changed);
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "Another one of its kind waits or runs.");
    }
    return e || PQntuples(*ret_changed) ? e : explain(request, id, words);
}

enum err background_retry(struct request *request, struct response *response)
{
    PG_RESULT_AUTO changed = NULL;
    enum err e = change(request, &RETRY, "job.retried", "The job is not dead.", &changed);
    if (!e) {
        JSON_AUTO job = keyset_json(changed, 0, 2);
        response_json(response, 200, job);
    }
    return e;
}

enum err background_discard(struct request *request, struct response *response)
{
    PG_RESULT_AUTO changed = NULL;
    enum err e = change(request, &DISCARD, "job.discarded", "The job runs, or is done.", &changed);
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err background_schedules(struct request *request, struct response *response)
{
    PG_RESULT_AUTO rows = NULL;
    enum err e = pg_query(request->services->pg, &SCHEDULES, NULL, &rows);
    if (e) {
        return e;
    }
    keyset_answer_all(response, rows, keyset_made);
    return ERR_OK;
}
