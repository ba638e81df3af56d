/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An export is read in stretches of the index, each by a COPY of its own. One COPY for everything would hold
 * one snapshot for as long as the client takes to read, and while a snapshot lives, PostgreSQL keeps every
 * dead version of every rollup row that was made since, which slows recording down for all. A stretch is
 * short, so is its snapshot, and a planner that is asked for a small range reads the index instead of sorting
 * a table.
 *
 * Where a stretch ends is asked first: at the STRETCH_EVENTS-th event after the one where the last stretch
 * ended, by time and id. The stretches lie end to end, so each event that was there at the start is exported
 * once.
 *
 * Nothing of an answer waits in memory or on a disk: nginx takes no more than its client does (see
 * nginx/tallygate-site.conf.in), we no more than nginx, and PostgreSQL no more than we. A slow client costs a
 * request thread, of which exports may hold EXPORTS_MAX in a worker, and is cut when a stretch takes longer
 * than STRETCH_LIMIT_MS. After the first byte an error can only be told by cutting the answer, see
 * dispatch.c.
 */
#include "analytics/export.h"

#include <stdatomic.h>
#include <string.h>

#include "analytics/place.h"
#include "analytics/selection.h"
#include "base/mem.h"
#include "queries.h"

enum { EXPORTS_MAX = 2, STRETCH_EVENTS = 5000, STRETCH_LIMIT_MS = 60 * 1000 };

static const struct pg_statement END_OF_ALL = {"export_end", sql_export_end};
static const struct pg_statement END_OF_USER = {"export_end_user", sql_export_end_user};

struct format {
    const char *name;
    const char *content_type;
    const char *select;
    const char *head_options; /* of the first COPY */
    const char *options;
    const char *line_end;
};

/* JSON text holds no control characters, so with these as quote and delimiter COPY leaves it as it is.
 * (COPY's own text format would double each backslash.) */
#define PLAIN_LINES "FORMAT csv, QUOTE E'\\001', DELIMITER E'\\002'"

static const struct format FORMATS[] = {
    {"csv", "text/csv; charset=utf-8; header=present", sql_export_csv, "FORMAT csv, HEADER", "FORMAT csv",
     "\r\n"},
    {"ndjson", "application/x-ndjson", sql_export_ndjson, PLAIN_LINES, PLAIN_LINES, "\n"},
};

struct export
{
    struct request *request;
    struct response *response;
    const struct format *format;
    const char *user_id; /* NULL: all */
    struct selection selection;
    bool started;
    bool wanted; /* the client still takes it */
};

/* The first is the default. */
static const struct format *find_format(const char *name_or_null)
{
    for (size_t i = 0; name_or_null && i < ARRAY_SIZE(FORMATS); i++) {
        if (strcmp(name_or_null, FORMATS[i].name) == 0) {
            return &FORMATS[i];
        }
    }
    return name_or_null ? NULL : &FORMATS[0];
}

static const char *check_format(const char *text, size_t length)
{
    (void)length;
    return find_format(text) ? NULL : "must be csv or ndjson";
}

/* Headers wait for the first row: what goes wrong before it is told as any other problem. */
static bool start(struct export *export)
{
    char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
    struct response *response = export->response;
    clock_format_date(export->selection.start_us, first);
    clock_format_date(export->selection.end_us - 1, last);
    response->status = 200;
    response->content_type = export->format->content_type;
    response_header(response, "Content-Disposition",
                    arena_printf(response->arena, "attachment; filename=\"events_%s_%s.%s\"", first, last,
                                 export->format->name));
    export->started = true;
    return response_send(response, "", 0);
}

static bool take_row(void *argument, const char *row, size_t length)
{
    struct export *export = argument;
    struct response *response = export->response;
    const char *line_end = export->format->line_end;
    if (!row) {
        export->wanted = response_send(response, NULL, 0);
        return export->wanted;
    }
    /* PostgreSQL ends each row by a line feed. */
    export->wanted = (export->started || start(export)) && response_send(response, row, length - 1) &&
                     response_send(response, line_end, strlen(line_end));
    return export->wanted;
}

/* *ret_end is where the stretch after `begin` ends; *ret_last tells that nothing is left after it. */
static enum err find_end(const struct export *export, const struct place *begin, struct place *ret_end,
                         bool *ret_last)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    struct place period_end;
    place_set(&period_end, export->selection.end_us, "");
    pg_int(&params, export->request->principal.workspace_id);
    place_params(begin, &params);
    pg_text(&params, period_end.time);
    pg_int(&params, STRETCH_EVENTS);
    if (export->user_id) {
        pg_text(&params, export->user_id);
    }
    enum err e = pg_query(export->request->services->pg, export->user_id ? &END_OF_USER : &END_OF_ALL,
                          &params, &result);
    if (e) {
        return e;
    }
    *ret_last = PQntuples(result) == 0;
    *ret_end = period_end;
    if (!*ret_last) {
        place_set(ret_end, pg_get_int(result, 0, 0), pg_get_text(result, 0, 1));
    }
    return ERR_OK;
}

static enum err copy_stretch(struct export *export, const struct place *begin, const struct place *end)
{
    const struct format *format = export->format;
    struct pg_copy copy = {.name = "export",
                           .select = format->select,
                           .options = export->started ? format->options : format->head_options,
                           .limit_ms = STRETCH_LIMIT_MS};
    struct pg_params params = {0};
    pg_int(&params, export->request->principal.workspace_id);
    place_params(begin, &params);
    place_params(end, &params);
    pg_text(&params, export->user_id);
    pg_text(&params, export->selection.type);
    pg_text(&params, export->selection.metadata);
    return pg_copy_out(export->request->services->pg, &copy, &params, take_row, export);
}

static enum err run(struct export *export)
{
    struct place begin, end;
    bool last = false;
    enum err e = ERR_OK;
    place_set(&begin, export->selection.start_us, "");
    while (!e && !last && export->wanted) {
        e = find_end(export, &begin, &end, &last);
        e = e ? e : copy_stretch(export, &begin, &end);
        begin = end;
        export->wanted = !e && export->wanted && response_send(export->response, NULL, 0);
    }
    if (!e && export->wanted && !export->started) {
        start(export);
    }
    return e;
}

/* So many may run in this process that requests of other kinds always find a thread. */
static enum err run_in_turn(struct export *export)
{
    static atomic_int running;
    enum err e;
    if (atomic_fetch_add(&running, 1) < EXPORTS_MAX) {
        e = run(export);
    } else {
        e = problem_say(&export->request->problem, ERR_UNAVAILABLE,
                        "As many exports as may be are running already. Try again later.");
    }
    atomic_fetch_sub(&running, 1);
    return e;
}

/* HTTP/1.0 ends a body by closing the connection, whether it is whole or not. */
static enum err check_protocol(struct request *request)
{
    const char *protocol = request_variable(request, "SERVER_PROTOCOL");
    if (!protocol || strcmp(protocol, "HTTP/1.0") != 0) {
        return ERR_OK;
    }
    return problem_say(
        &request->problem, ERR_BAD_REQUEST,
        "An export needs HTTP/1.1 or later: in HTTP/1.0 one that was cut would look complete.");
}

enum err export_events(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {SELECTION_FIELDS,
                                         {"user_id", FIELD_STRING, 0, 1, EVENT_USER_MAX, NULL},
                                         {"format", FIELD_STRING, 0, 1, 16, check_format}};
    enum { USER = SELECTION_COUNT, FORMAT, COUNT };
    struct value values[COUNT];
    struct export export = {.request = request, .response = response, .wanted = true};

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : selection_read(request, values, &export.selection);
    e = e ? e : check_protocol(request);
    if (e) {
        return e;
    }
    export.format = find_format(values[FORMAT].text);
    export.user_id = values[USER].text;
    if (strcmp(request->method, "HEAD") == 0) {
        start(&export);
        return ERR_OK;
    }
    return run_in_turn(&export);
}
