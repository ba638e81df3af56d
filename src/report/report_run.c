/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_run.h"

#include <string.h>

#include "base/json.h"
#include "http/keyset.h"
#include "identity/item.h"
#include "queries.h"
#include "report/report.h"
#include "report/report_file.h"
#include "work/queue.h"

/* One whose job is gone or dead will not be made any more, whatever its row says. */
#define STATE                                                    \
    "CASE WHEN r.state IN ('queued', 'running') AND NOT EXISTS " \
    "(SELECT FROM jobs j WHERE j.id = r.job_id AND j.state <> 'dead') THEN 'failed' ELSE r.state END"
#define ITEM                                                                                                \
    "json_build_object('run_id', r.id, 'report_id', r.report_id, 'status', " STATE ", 'format', r.format, " \
    "'first_day', r.first_day, 'last_day', r.first_day + r.days - 1, 'size_bytes', r.size_bytes, "          \
    "'sha256', encode(r.sha256, 'hex'), 'error', r.error, 'created_at', " PG_UTC(                           \
        "r.created_at") ", 'started_at', " PG_UTC("r.started_at") ", 'finished_at', " PG_UTC("r.finished_at") ")"

static const struct pg_statement START = {"report_run", sql_report_run};
static const struct pg_statement EXISTS_ = {"report_exists",
                                            "SELECT FROM reports WHERE workspace_id = $1 AND id = $2::uuid"};
static const struct pg_statement LIST = {
    "report_run_list",
    "SELECT r.id, " ITEM " FROM report_runs r WHERE r.workspace_id = $1 AND r.report_id = $2::uuid "
    "ORDER BY r.created_at DESC, r.id DESC LIMIT 100"};
static const struct pg_statement SHOW = {
    "report_run_show",
    "SELECT r.id, " ITEM ", " STATE ", r.size_bytes, r.format, r.first_day, r.first_day + r.days - 1, " PG_US(
        "r.finished_at") " FROM report_runs r WHERE r.workspace_id = $1 AND r.report_id = $2::uuid AND r.id = $3::uuid AND EXISTS (SELECT FROM reports o WHERE o.workspace_id = $1 AND o.id = $2::uuid)"};
enum { COLUMN_ITEM = 1, COLUMN_STATE, COLUMN_SIZE, COLUMN_FORMAT, COLUMN_FIRST, COLUMN_LAST, COLUMN_MADE };

static enum err no_such_run(struct request *request)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "The report has no run with this id, or no longer.");
}

/* ---- POST …/run ---- */

struct starting {
    struct request *request;
    char run_id[UUID_TEXT_SIZE];
};

static enum err explain(struct pg *pg, struct request *request)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = item_params(request, REPORT_KIND, &params);
    e = e ? e : pg_query(pg, &EXISTS_, &params, &row);
    if (e || PQntuples(row) == 0) {
        return e ? e : item_unknown(request, REPORT_KIND);
    }
    return problem_say(
        &request->problem, ERR_CONFLICT,
        "Ten reports of the workspace wait to be made, or 200 were asked for within a day, which is the most.");
}

static enum err start(struct pg *pg, void *argument)
{
    struct starting *starting = argument;
    struct request *request = starting->request;
    struct pg_params params = {0};
    PG_RESULT_AUTO begun = NULL;
    int64_t job_id = 0;
    const struct queue_order order = {
        .type = "reports.make",
        .payload = arena_printf(request->arena, "{\"workspace_id\": %lld, \"run_id\": \"%s\"}",
                                (long long)request->principal.workspace_id, starting->run_id),
        .priority = 1};
    const struct audit_change change = {.statement = &START,
                                        .params = &params,
                                        .before = item_one_by_one,
                                        .action = "report.run",
                                        .kind = "report_run"};
    enum err e = item_params(request, REPORT_KIND, &params);
    e = e ? e : queue_put(pg, &order, &job_id);
    pg_text(&params, starting->run_id);
    pg_int(&params, job_id);
    pg_int(&params, request->principal.user_id);
    pg_int(&params, REPORT_RUNS_OPEN);
    pg_int(&params, REPORT_RUNS_DAY);
    e = e ? e : audit_run(pg, request, &change, &begun);
    return e || PQntuples(begun) ? e : explain(pg, request); /* a failure takes the job back */
}

static enum err show_run(struct request *request, struct response *response, int status, const char *run_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = item_params(request, REPORT_KIND, &params);
    pg_text(&params, run_id);
    e = e ? e : pg_query(request->services->pg, &SHOW, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return no_such_run(request);
    }
    if (!e) {
        JSON_AUTO item = keyset_json(row, 0, COLUMN_ITEM);
        response_json(response, status, item);
    }
    return e;
}

enum err report_run_start(struct request *request, struct response *response)
{
    struct starting starting = {.request = request};
    uint8_t id[16];
    uuid_v7(id);
    uuid_format(id, starting.run_id);
    enum err e = pg_transaction(request->services->pg, start, &starting);
    e = e ? e : show_run(request, response, 202, starting.run_id);
    if (!e) {
        response_header(response, "Location",
                        arena_printf(request->arena, "/reports/%s/runs/%s", request_param(request, "id"),
                                     starting.run_id));
    }
    return e;
}

/* ---- what became of it ---- */

enum err report_run_list(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO known = NULL;
    PG_RESULT_AUTO rows = NULL;
    enum err e = item_params(request, REPORT_KIND, &params);
    e = e ? e : pg_query(request->services->pg, &EXISTS_, &params, &known);
    if (!e && PQntuples(known) == 0) {
        return item_unknown(request, REPORT_KIND);
    }
    e = e ? e : pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer_all(response, rows, keyset_made); /* the last hundred */
    }
    return e;
}

/* The run of the path; ERR_NOT_FOUND, said, when its id is none. */
static enum err run_of(struct request *request, const char **ret_id)
{
    uint8_t id[16];
    *ret_id = request_param(request, "run_id");
    return uuid_parse(*ret_id, id) ? ERR_OK : no_such_run(request);
}

enum err report_run_show(struct request *request, struct response *response)
{
    const char *run_id;
    enum err e = run_of(request, &run_id);
    return e ? e : show_run(request, response, 200, run_id);
}

enum err report_run_download(struct request *request, struct response *response)
{
    const char *run_id;
    char lower[UUID_TEXT_SIZE];
    uint8_t id[16];
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = run_of(request, &run_id);
    e = e ? e : item_params(request, REPORT_KIND, &params);
    pg_text(&params, run_id);
    e = e ? e : pg_query(request->services->pg, &SHOW, &params, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) == 0) {
        return no_such_run(request);
    }
    if (strcmp(pg_get_text(row, 0, COLUMN_STATE), "done") != 0) {
        return problem_say(&request->problem, ERR_CONFLICT, "The run is %s: there is no file.",
                           pg_get_text(row, 0, COLUMN_STATE));
    }
    uuid_parse(run_id, id);
    uuid_format(id, lower);
    const struct report_file file = {
        .run_id = lower,
        .format = pg_get_text(row, 0, COLUMN_FORMAT),
        .name = arena_printf(request->arena, "report-%s-%s.%s", pg_get_text(row, 0, COLUMN_FIRST),
                             pg_get_text(row, 0, COLUMN_LAST), pg_get_text(row, 0, COLUMN_FORMAT)),
        .size_bytes = pg_get_int(row, 0, COLUMN_SIZE),
        .made_us = pg_get_int(row, 0, COLUMN_MADE)};
    return report_file_send(request, response, &file);
}
