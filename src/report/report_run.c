/* SPDX-License-Identifier: Apache-2.0 */
#include "report/report_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "http/keyset.h"
#include "identity/audit.h"
#include "queries.h"
#include "report/report.h"
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
/* Before it, so that its snapshot shows what others began. */
static const struct pg_statement ONE_BY_ONE = {
    "report_run_lock", "SELECT pg_advisory_xact_lock(hashtext('report runs'), hashtext($1::text))"};
static const struct pg_statement EXISTS_ = {"report_exists",
                                            "SELECT FROM reports WHERE workspace_id = $1 AND id = $2::uuid"};
static const struct pg_statement LIST = {
    "report_run_list",
    "SELECT r.id, " ITEM " FROM report_runs r WHERE r.workspace_id = $1 AND r.report_id = $2::uuid "
    "ORDER BY r.created_at DESC, r.id DESC LIMIT 100"};
static const struct pg_statement SHOW = {
    "report_run_show",
    "SELECT r.id, " ITEM ", " STATE ", r.size_bytes, r.format, r.first_day, r.first_day + r.days - 1 "
    "FROM report_runs r WHERE r.workspace_id = $1 AND r.report_id = $2::uuid AND r.id = $3::uuid AND EXISTS (SELECT FROM reports o WHERE o.workspace_id = $1 AND o.id = $2::uuid)"};
static const struct pg_statement PIECE = {
    "report_piece",
    "SELECT piece FROM report_files WHERE workspace_id = $1 AND run_id = $2::uuid AND no = $3"};

enum { COLUMN_ITEM = 1, COLUMN_STATE, COLUMN_SIZE, COLUMN_FORMAT, COLUMN_FIRST, COLUMN_LAST };

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
    enum err e = report_params(request, &params);
    e = e ? e : pg_query(pg, &EXISTS_, &params, &row);
    if (e || PQntuples(row) == 0) {
        return e ? e : report_unknown(request);
    }
    return problem_say(
        &request->problem, ERR_CONFLICT,
        "Ten reports of the workspace wait to be made, or 200 were asked for within a day, which is the most.");
}

static enum err start(struct pg *pg, void *argument)
{
    struct starting *starting = argument;
    struct request *request = starting->request;
    struct pg_params params = {0}, space = {0};
    PG_RESULT_AUTO begun = NULL;
    int64_t job_id = 0;
    const struct queue_order order = {
        .type = "reports.make",
        .payload = arena_printf(request->arena, "{\"workspace_id\": %lld, \"run_id\": \"%s\"}",
                                (long long)request->principal.workspace_id, starting->run_id),
        .priority = 1};
    const struct audit_change change = {
        .statement = &START, .params = &params, .action = "report.run", .kind = "report_run"};
    enum err e = report_params(request, &params);
    pg_int(&space, request->principal.workspace_id);
    e = e ? e : pg_query(pg, &ONE_BY_ONE, &space, NULL);
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
    enum err e = report_params(request, &params);
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
    if (!e) {
        response_header(response, "Location",
                        arena_printf(request->arena, "/reports/%s/runs/%s", request_param(request, "id"),
                                     starting.run_id));
    }
    return e ? e : show_run(request, response, 202, starting.run_id);
}

/* ---- what became of it ---- */

enum err report_run_list(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO known = NULL;
    PG_RESULT_AUTO rows = NULL;
    enum err e = report_params(request, &params);
    e = e ? e : pg_query(request->services->pg, &EXISTS_, &params, &known);
    if (!e && PQntuples(known) == 0) {
        return report_unknown(request);
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

/* ---- its file ---- */

/* Take a piece of the file. False: no more are wanted. */
typedef bool piece_taker(void *argument, const uint8_t *piece, size_t length);

static enum err each_piece(struct request *request, const char *run_id, piece_taker *take, void *argument,
                           int64_t *ret_size)
{
    *ret_size = 0;
    for (int no = 0;; no++) {
        struct pg_params params = {0};
        PG_RESULT_AUTO row = NULL;
        size_t length;
        pg_int(&params, request->principal.workspace_id);
        pg_text(&params, run_id);
        pg_int(&params, no);
        enum err e = pg_query(request->services->pg, &PIECE, &params, &row);
        if (e || PQntuples(row) == 0) {
            return e;
        }
        unsigned char *piece = PQunescapeBytea((const unsigned char *)PQgetvalue(row, 0, 0), &length);
        bool more = piece && take(argument, piece, length);
        *ret_size += piece ? (int64_t)length : 0;
        PQfreemem(piece);
        if (!more) {
            return ERR_UNAVAILABLE;
        }
    }
}

static bool take_for_shell(void *argument, const uint8_t *piece, size_t length)
{
    return response_send(argument, (const char *)piece, length);
}

static bool take_for_disk(void *argument, const uint8_t *piece, size_t length)
{
    const int *fd = argument;
    while (length) {
        ssize_t written = write(*fd, piece, length);
        if (written <= 0) {
            return false;
        }
        piece += written;
        length -= (size_t)written;
    }
    return true;
}

/* Whole or not at all, whoever else puts it there at the same time. */
static enum err put_on_disk(struct request *request, const char *run_id, const char *path, int64_t size)
{
    int64_t got = 0;
    uint8_t mark[16];
    char mark_text[UUID_TEXT_SIZE];
    uuid_v7(mark);
    uuid_format(mark, mark_text);
    const char *half = arena_printf(request->arena, "%s.%s", path, mark_text);
    int fd = open(half, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    enum err e = fd < 0 ? ERR_UNAVAILABLE : each_piece(request, run_id, take_for_disk, &fd, &got);
    bool fine = !e && got == size && fchmod(fd, 0640) == 0;
    int reason = errno;
    fine = fd >= 0 && close(fd) == 0 && fine && rename(half, path) == 0;
    if (!fine && fd >= 0) {
        unlink(half);
    }
    if (!fine && !e && got != size) {
        return no_such_run(request); /* its days are over, or somebody deleted the report */
    }
    if (!fine) {
        log_error("%s: cannot be written: %s", half, strerror(reason));
    }
    return fine ? ERR_OK : ERR_UNAVAILABLE;
}

static const char *type_of(const char *format)
{
    return strcmp(format, "pdf") == 0    ? "application/pdf"
           : strcmp(format, "html") == 0 ? "text/html; charset=utf-8"
           : strcmp(format, "csv") == 0  ? "text/csv; charset=utf-8; header=present"
                                         : "application/json";
}

/* From the cache of this host, into which it is put when it is not there. */
static enum err hand_over(struct request *request, struct response *response, const char *run_id,
                          const PGresult *row)
{
    const char *name =
        arena_printf(request->arena, "report-%s.%s", run_id, pg_get_text(row, 0, COLUMN_FORMAT));
    const char *path = arena_printf(request->arena, "%s/%s", request->services->config->cache_dir, name);
    int64_t size = pg_get_int(row, 0, COLUMN_SIZE);
    struct stat there;
    /* One that is asked for again is young; when it was made stays, or nobody could go on where he was cut
     * off. */
    static const struct timespec NOW[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
    bool kept = stat(path, &there) == 0 && there.st_size == size && utimensat(AT_FDCWD, path, NOW, 0) == 0;
    enum err e = kept ? ERR_OK : put_on_disk(request, run_id, path, size);
    if (!e) {
        response_file(response, type_of(pg_get_text(row, 0, COLUMN_FORMAT)),
                      arena_printf(request->arena, "/.tallygate-files/%s", name));
    }
    return e;
}

enum err report_run_download(struct request *request, struct response *response)
{
    const char *run_id;
    char lower[UUID_TEXT_SIZE];
    uint8_t id[16];
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = run_of(request, &run_id);
    e = e ? e : report_params(request, &params);
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
    response_header(response, "Content-Disposition",
                    arena_printf(request->arena, "attachment; filename=\"report-%s-%s.%s\"",
                                 pg_get_text(row, 0, COLUMN_FIRST), pg_get_text(row, 0, COLUMN_LAST),
                                 pg_get_text(row, 0, COLUMN_FORMAT)));
    if (request->principal.kind == PRINCIPAL_SHELL) {
        int64_t size;
        e = each_piece(request, lower, take_for_shell, response, &size);
        return e || size == pg_get_int(row, 0, COLUMN_SIZE) ? e : no_such_run(request);
    }
    return hand_over(request, response, lower, row);
}
