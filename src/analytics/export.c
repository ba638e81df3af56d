/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An export is read in stretches of the index, each by a COPY of its own. One COPY for everything would hold
 * one snapshot for as long as the client takes to read, and while a snapshot lives, PostgreSQL keeps every
 * dead version of every rollup row that was made since, which slows recording down for all. A stretch is
 * short, so is its snapshot, and a planner that is asked for a small range reads the index instead of sorting
 * a table.
 *
 * Where a stretch ends is asked first: at so many events after the one where the last stretch
 * ended, by time and id. How many is judged by what the last ones made, so that a slow client has time for a
 * stretch of large events, too. The stretches lie end to end, so each event that was there at the start is
 * exported once.
 *
 * Nothing of an answer waits in memory or on a disk: nginx takes no more than its client does (see
 * nginx/tallygate-site.conf.in), we no more than nginx, and PostgreSQL no more than we. A slow client costs a
 * request thread, of which exports may hold EXPORTS_MAX in a worker and those of one workspace one, and is
 * cut when a stretch takes longer than STRETCH_LIMIT_MS. After the first byte an error can only be told by
 * cutting the answer, see dispatch.c.
 */
#include "analytics/export.h"

#include <pthread.h>
#include <string.h>

#include "analytics/place.h"
#include "analytics/selection.h"
#include "base/clock.h"
#include "base/mem.h"
#include "queries.h"

enum {
    EXPORTS_MAX = 2,
    STRETCH_EVENTS_MIN = 100,
    STRETCH_EVENTS_MAX = 5000,
    STRETCH_BYTES = 1024 * 1024, /* about so many go out in one */
    STRETCH_LIMIT_MS = 60 * 1000,
};

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

static const struct format FORMATS[] = {
    {"csv", "text/csv; charset=utf-8; header=present", sql_export_csv, "FORMAT csv, HEADER", "FORMAT csv",
     "\r\n"},
    {"ndjson", "application/x-ndjson", sql_export_ndjson, EXPORT_PLAIN_LINES, EXPORT_PLAIN_LINES, "\n"},
};

struct transfer {
    struct request *request;
    struct response *response;
    const struct format *format;
    const char *user_id; /* NULL: all */
    struct selection selection;
    int64_t end_us; /* nothing from here on is exported */
    int64_t stretch_events;
    size_t stretch_bytes; /* what went out since it began */
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
static bool start(struct transfer *transfer)
{
    char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
    struct response *response = transfer->response;
    clock_format_date(transfer->selection.start_us, first);
    clock_format_date(transfer->selection.end_us - 1, last);
    response->status = 200;
    response->content_type = transfer->format->content_type;
    response_header(response, "Content-Disposition",
                    arena_printf(response->arena, "attachment; filename=\"events_%s_%s.%s\"", first, last,
                                 transfer->format->name));
    transfer->started = true;
    return response_send(response, "", 0);
}

static bool take_row(void *argument, const char *row, size_t length)
{
    struct transfer *transfer = argument;
    struct response *response = transfer->response;
    const char *line_end = transfer->format->line_end;
    if (!row) {
        transfer->wanted = response_send(response, NULL, 0);
        return transfer->wanted;
    }
    transfer->stretch_bytes += length;
    /* PostgreSQL ends each row by a line feed. */
    transfer->wanted = (transfer->started || start(transfer)) && response_send(response, row, length - 1) &&
                       response_send(response, line_end, strlen(line_end));
    return transfer->wanted;
}

/* *ret_end is where the stretch after `begin` ends; *ret_last tells that nothing is left after it. */
static enum err find_end(const struct transfer *transfer, const struct place *begin, struct place *ret_end,
                         bool *ret_last)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    struct place end_of_all;
    place_set(&end_of_all, transfer->end_us, "");
    pg_int(&params, transfer->request->principal.workspace_id);
    place_params(begin, &params);
    pg_text(&params, end_of_all.time);
    pg_int(&params, transfer->stretch_events);
    if (transfer->user_id) {
        pg_text(&params, transfer->user_id);
    }
    enum err e = pg_query(transfer->request->services->pg, transfer->user_id ? &END_OF_USER : &END_OF_ALL,
                          &params, &result);
    if (e) {
        return e;
    }
    *ret_last = PQntuples(result) == 0;
    *ret_end = end_of_all;
    if (!*ret_last) {
        place_set(ret_end, pg_get_int(result, 0, 0), pg_get_text(result, 0, 1));
    }
    return ERR_OK;
}

static enum err copy_stretch(struct transfer *transfer, const struct place *begin, const struct place *end)
{
    const struct format *format = transfer->format;
    struct pg_copy copy = {.name = "export",
                           .select = format->select,
                           .options = transfer->started ? format->options : format->head_options,
                           .limit_ms = STRETCH_LIMIT_MS};
    struct pg_params params = {0};
    pg_int(&params, transfer->request->principal.workspace_id);
    place_params(begin, &params);
    place_params(end, &params);
    pg_text(&params, transfer->user_id);
    pg_text(&params, transfer->selection.type);
    pg_text(&params, transfer->selection.metadata);
    return pg_copy_out(transfer->request->services->pg, &copy, &params, take_row, transfer);
}

static void judge_stretch(struct transfer *transfer)
{
    int64_t *events = &transfer->stretch_events;
    *events = transfer->stretch_bytes > STRETCH_BYTES ? *events / 2 : *events * 2;
    *events = *events < STRETCH_EVENTS_MIN   ? STRETCH_EVENTS_MIN
              : *events > STRETCH_EVENTS_MAX ? STRETCH_EVENTS_MAX
                                             : *events;
    transfer->stretch_bytes = 0;
}

static enum err run(struct transfer *transfer)
{
    struct place begin, end;
    bool last = false;
    enum err e = ERR_OK;
    place_set(&begin, transfer->selection.start_us, "");
    while (!e && !last && transfer->wanted) {
        e = find_end(transfer, &begin, &end, &last);
        e = e ? e : copy_stretch(transfer, &begin, &end);
        judge_stretch(transfer);
        begin = end;
        transfer->wanted = !e && transfer->wanted && response_send(transfer->response, NULL, 0);
    }
    if (!e && transfer->wanted && !transfer->started) {
        start(transfer);
    }
    return e;
}

/* An export of today may take longer than it took to record what it exports, and would never end. So it
 * leaves out events that happened later than any that was recorded when it began; clocks may differ a little.
 */
static int64_t latest_us(void)
{
    return clock_now_us() + 2 * EVENT_FUTURE_S * USEC_PER_SEC;
}

/* So many may run in this process that requests of other kinds always find a thread; and of one workspace
 * one, so that no tenant keeps the others from theirs. */
static struct {
    pthread_mutex_t lock;
    int64_t workspaces[EXPORTS_MAX]; /* 0: free */
} places = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The place of the workspace, or NULL. *ret_own tells that it has one already. */
static int64_t *take_place(int64_t workspace_id, bool *ret_own)
{
    int64_t *place = NULL;
    *ret_own = false;
    pthread_mutex_lock(&places.lock);
    for (size_t i = 0; i < EXPORTS_MAX; i++) {
        *ret_own |= places.workspaces[i] == workspace_id;
        place = places.workspaces[i] ? place : &places.workspaces[i];
    }
    place = *ret_own ? NULL : place;
    if (place) {
        *place = workspace_id;
    }
    pthread_mutex_unlock(&places.lock);
    return place;
}

static void give_place(int64_t *place)
{
    pthread_mutex_lock(&places.lock);
    *place = 0;
    pthread_mutex_unlock(&places.lock);
}

static enum err run_in_turn(struct transfer *transfer)
{
    bool own;
    int64_t *place = take_place(transfer->request->principal.workspace_id, &own);
    if (!place) {
        return problem_say(&transfer->request->problem, ERR_UNAVAILABLE,
                           own ? "An export of this workspace is running already. Try again later."
                               : "As many exports as may be are running already. Try again later.");
    }
    enum err e = run(transfer);
    give_place(place);
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
    struct transfer transfer = {
        .request = request, .response = response, .stretch_events = STRETCH_EVENTS_MIN, .wanted = true};

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : selection_read(request, values, &transfer.selection);
    e = e ? e : check_protocol(request);
    if (e) {
        return e;
    }
    int64_t latest = latest_us();
    transfer.end_us = latest < transfer.selection.end_us ? latest : transfer.selection.end_us;
    transfer.format = find_format(values[FORMAT].text);
    transfer.user_id = values[USER].text;
    if (strcmp(request->method, "HEAD") == 0) {
        start(&transfer);
        return ERR_OK;
    }
    return run_in_turn(&transfer);
}
