/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines become JSON objects, objects events, and events batches of BATCH_EVENTS, each of which is one
 * transaction. Nothing of a file is held but the batch in hand.
 */
#include "analytics/import.h"

#include <csv.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/batch.h"
#include "analytics/committer.h"
#include "analytics/event.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    BATCH_EVENTS = 2000,
    CHUNK_BYTES = 256 * 1024,
    LINE_MAX_BYTES = 2 * 1024 * 1024, /* longer ones are passed over */
    COLUMNS_MAX = 16,
    CELL_MAX_BYTES = 64 * 1024,
    ENSURED_MAX = 64,
    PATIENCE_US = 60 * 1000000, /* with a database that is away */
};

struct importing {
    const struct import *import;
    struct import_counts counts;
    char *error;
    bool failed;
    int64_t now_us;
    int64_t line;

    struct committer *committer;
    struct pg_options pg_options;
    struct pg *pg;
    char ensured[ENSURED_MAX][CLOCK_TEXT_SIZE]; /* days for whose partition was seen, the latest ones */
    size_t ensured_count;
    size_t ensured_next;
    struct arena arena;   /* of the batch */
    struct arena scratch; /* of the line */
    struct json_reader reader;
    struct event events[BATCH_EVENTS];
    struct committer_entry entries[BATCH_EVENTS];
    int64_t lines[BATCH_EVENTS];
    size_t count;

    bool in_long_line; /* whose rest is passed over */

    /* CSV */
    char *columns[COLUMNS_MAX];
    size_t columns_count;
    size_t column;
    struct json_object *row;
    const char *cell_fault; /* what is wrong with a cell of the row, and in which column */
    size_t cell_fault_column;
};

static const struct pg_statement ENSURE = {"import_ensure", "SELECT ensure_event_partition($1::date, $2)"};

static void stop(struct importing *importing, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void stop(struct importing *importing, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(importing->error, PACKED_ERROR_SIZE, format, args);
    va_end(args);
    importing->failed = true;
}

static void reject(struct importing *importing, int64_t line, const char *field, const char *message)
{
    importing->counts.rejected++;
    importing->import->complain(importing->import->argument, line, field, message);
}

/* ---- batches ---- */

/* A partition for what is about to be recorded, of each month or day once. Without one it would go to the
 * default partition, and to move millions from there takes longer than the pools' upkeep may. */
static void ensure_partitions(struct importing *importing)
{
    bool days = importing->import->config->events_partition == CONFIG_DAY;
    for (size_t i = 0; i < importing->count; i++) {
        char day[CLOCK_TEXT_SIZE];
        struct pg_params params = {0};
        clock_format_date(importing->events[i].occurred_us, day);
        size_t length = days ? 10 : 7; /* of YYYY-MM-DD, or YYYY-MM */
        bool known = false;
        for (size_t k = 0; k < importing->ensured_count && !known; k++) {
            known = strncmp(importing->ensured[k], day, length) == 0;
        }
        if (known) {
            continue;
        }
        pg_text(&params, day);
        pg_text(&params, days ? "day" : "month");
        if (pg_query(importing->pg, &ENSURE, &params, NULL) == ERR_OK) { /* else the next batch tries again */
            memcpy(importing->ensured[importing->ensured_next], day, sizeof(importing->ensured[0]));
            importing->ensured_next = (importing->ensured_next + 1) % ENSURED_MAX;
            importing->ensured_count += importing->ensured_count < ENSURED_MAX;
        }
    }
}

static void record(struct importing *importing)
{
    if (importing->count == 0 || importing->failed) {
        return;
    }
    ensure_partitions(importing);
    for (size_t i = 0; i < importing->count; i++) {
        importing->entries[i] =
            (struct committer_entry){importing->import->workspace_id, &importing->events[i], i};
    }
    enum err e = committer_sift(importing->committer, importing->entries, importing->count,
                                clock_monotonic_us() + PATIENCE_US);
    for (size_t i = 0; i < importing->count; i++) {
        enum event_fate fate = importing->events[i].fate;
        importing->counts.recorded += fate == EVENT_RECORDED;
        importing->counts.duplicates += fate == EVENT_DUPLICATE;
        if (fate == EVENT_REFUSED) {
            reject(importing, importing->lines[i], "event", BATCH_REFUSED);
        } else if (fate == EVENT_HOMELESS && !importing->failed) {
            stop(importing, "the workspace is closed");
        }
    }
    if (e) {
        stop(importing, "the database did not record what stands before line %lld; see the line above",
             (long long)importing->line);
    }
    importing->count = 0;
    arena_reset(&importing->arena);
}

static void take(struct importing *importing, struct json_object *object)
{
    struct problem problem = {.arena = &importing->scratch};
    struct event *event = &importing->events[importing->count];
    int64_t workspace_id = 0;
    enum err e = ERR_INVALID;
    if (!json_object_is_type(object, json_type_object)) {
        problem_field(&problem, "event", "type", "must be an object");
    } else {
        e = event_from_export(&problem, object, importing->now_us, event, &workspace_id);
    }
    if (!e && workspace_id && workspace_id != importing->import->workspace_id) {
        e = problem_field(&problem, "workspace_id", "out_of_range",
                          "is another workspace than that of the import");
    }
    if (e) {
        reject(importing, importing->line, problem.first->field, problem.first->message);
    } else {
        event_keep(&importing->arena, event);
        importing->lines[importing->count++] = importing->line;
    }
    arena_reset(&importing->scratch);
    if (importing->count == BATCH_EVENTS) {
        record(importing);
    }
}

/* ---- NDJSON ---- */

static void take_line(struct importing *importing, const char *line, size_t length)
{
    JSON_AUTO object = NULL;
    struct json_fault fault;
    importing->line++;
    if (strspn(line, " \t\r") >= length) {
        return;
    }
    if (length > EVENT_TEXT_MAX) {
        reject(importing, importing->line, "event", "is too long");
    } else if (!json_read(&importing->reader, line, length, &object, &fault)) {
        reject(importing, importing->line, "event", "is not valid JSON");
    } else {
        take(importing, object);
    }
}

static void end_line(struct importing *importing, const char *line, size_t length)
{
    if (importing->in_long_line) {
        importing->in_long_line = false;
        importing->line++;
        reject(importing, importing->line, "event", "is too long");
    } else {
        take_line(importing, line, length);
    }
}

/* Whole lines are taken, the rest stays at the beginning of the chunk; at the end of the file it is a line,
 * too. */
static void take_lines(struct importing *importing, char *chunk, size_t *length, bool end)
{
    char *at = chunk, *behind = chunk + *length, *feed;
    while (!importing->failed && (feed = memchr(at, '\n', (size_t)(behind - at)))) {
        *feed = '\0';
        end_line(importing, at, (size_t)(feed - at));
        at = feed + 1;
    }
    *length = (size_t)(behind - at);
    memmove(chunk, at, *length);
    if (*length > LINE_MAX_BYTES) {
        importing->in_long_line = true;
        *length = 0;
    }
    if (end && (*length || importing->in_long_line) && !importing->failed) {
        chunk[*length] = '\0';
        end_line(importing, chunk, *length);
        *length = 0;
    }
}

/* ---- CSV (RFC 4180) ---- */

static void take_name(struct importing *importing, const char *text, size_t length)
{
    static const char *const NAMES[] = {"id",       "type",      "value",       "user_id",
                                        "metadata", "timestamp", "received_at", "workspace_id"};
    for (size_t i = 0; i < importing->columns_count; i++) {
        if (strlen(importing->columns[i]) == length && memcmp(importing->columns[i], text, length) == 0) {
            stop(importing, "the first line names the column %s twice", importing->columns[i]);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        if (importing->columns_count < COLUMNS_MAX && strlen(NAMES[i]) == length &&
            memcmp(NAMES[i], text, length) == 0) {
            importing->columns[importing->columns_count++] = mem_strdup(NAMES[i]);
            return;
        }
    }
    stop(importing, "the first line names a column '%.*s', which is none of an event's",
         (int)(length > 40 ? 40 : length), text);
}

/* An export puts an apostrophe before what a spreadsheet would take for a formula, and before another
 * apostrophe. */
static bool is_guarded(const char *text, size_t length)
{
    static const char *const SIGNS[] = {"'",  "=",  "+",  "-",  "@",  "\t", "\r", "\n",
                                        "＝", "＋", "－", "＠", "﹦", "﹢", "﹣", "﹫"};
    for (size_t i = 0; i < ARRAY_SIZE(SIGNS) && length > 1 && *text == '\''; i++) {
        if (strncmp(text + 1, SIGNS[i], strlen(SIGNS[i])) == 0) {
            return true;
        }
    }
    return false;
}

static struct json_object *cell_value(struct importing *importing, const char *name, const char *text,
                                      size_t length)
{
    struct json_object *value = NULL;
    struct json_fault fault;
    if (strcmp(name, "value") == 0 || strcmp(name, "metadata") == 0 || strcmp(name, "workspace_id") == 0) {
        if (!json_read(&importing->reader, text, length, &value, &fault)) {
            importing->cell_fault = "is not valid JSON";
        }
        return value;
    }
    if (!utf8_valid(text, length) || memchr(text, '\0', length)) {
        importing->cell_fault = "is not valid UTF-8";
        return NULL;
    }
    if (is_guarded(text, length)) {
        text++;
        length--;
    }
    return json_object_new_string_len(text, (int)length);
}

static void take_cell(void *cell, size_t length, void *argument)
{
    struct importing *importing = argument;
    const char *text = cell ? cell : "";
    size_t column = importing->column++;
    if (importing->failed) {
        return;
    }
    if (importing->line == 0) {
        take_name(importing, text, length);
        return;
    }
    if (column >= importing->columns_count || length > CELL_MAX_BYTES) {
        importing->cell_fault_column = column;
        importing->cell_fault =
            column >= importing->columns_count ? "has more columns than the first line" : "is too long";
        return;
    }
    if (length == 0 || importing->cell_fault) {
        return; /* empty: not there */
    }
    struct json_object *value = cell_value(importing, importing->columns[column], text, length);
    importing->cell_fault_column = column;
    if (!importing->cell_fault) {
        json_object_object_add(importing->row, importing->columns[column], value);
    }
}

/* `importing->line` counts records, the names being the first. */
static void take_record(int end, void *argument)
{
    struct importing *importing = argument;
    (void)end;
    importing->line++;
    if (importing->line > 1 && !importing->failed) {
        if (importing->cell_fault) {
            bool known = importing->cell_fault_column < importing->columns_count &&
                         importing->column <= importing->columns_count;
            reject(importing, importing->line,
                   known ? importing->columns[importing->cell_fault_column] : "event", importing->cell_fault);
        } else {
            take(importing, importing->row);
        }
    }
    json_object_put(importing->row);
    importing->row = json_object_new_object();
    importing->column = 0;
    importing->cell_fault = NULL;
}

/* ---- the file ---- */

/* The mark of UTF-8 that some programs begin a file with. */
static ssize_t read_first(struct packed_reader *reader, char *chunk, char *error)
{
    static const char MARK[] = "\xef\xbb\xbf";
    ssize_t n = packed_read(reader, chunk, CHUNK_BYTES, error);
    if (n >= 3 && memcmp(chunk, MARK, 3) == 0) {
        n -= 3;
        memmove(chunk, chunk + 3, (size_t)n);
    }
    return n;
}

static void read_ndjson(struct importing *importing, struct packed_reader *reader)
{
    char *chunk = mem_alloc(LINE_MAX_BYTES + CHUNK_BYTES + 1);
    size_t length = 0;
    ssize_t n = 1;
    bool first = true;
    while (!importing->failed && n > 0) {
        n = first ? read_first(reader, chunk, importing->error)
                  : packed_read(reader, chunk + length, CHUNK_BYTES, importing->error);
        first = false;
        length += n > 0 ? (size_t)n : 0;
        importing->failed = n < 0;
        take_lines(importing, chunk, &length, n == 0);
        progress_tell(&importing->import->progress, packed_place(reader), packed_size(reader));
    }
    free(chunk);
}

/* RFC 4180: spaces belong to the field. */
static int is_no_space(unsigned char c)
{
    (void)c;
    return 0;
}

static void read_csv(struct importing *importing, struct packed_reader *reader)
{
    char *chunk = mem_alloc(CHUNK_BYTES);
    struct csv_parser parser;
    ssize_t n = 1;
    csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL);
    csv_set_space_func(&parser, is_no_space);
    importing->row = json_object_new_object();
    bool first = true;
    while (!importing->failed && n > 0) {
        n = first ? read_first(reader, chunk, importing->error)
                  : packed_read(reader, chunk, CHUNK_BYTES, importing->error);
        first = false;
        importing->failed = n < 0;
        size_t taken = n > 0 ? csv_parse(&parser, chunk, (size_t)n, take_cell, take_record, importing) : 0;
        if (!importing->failed && csv_get_buffer_size(&parser) > LINE_MAX_BYTES) {
            stop(importing, "after line %lld: a cell does not end; is a quote missing?",
                 (long long)importing->line);
        }
        if (!importing->failed && ((n > 0 && taken != (size_t)n) ||
                                   (n == 0 && csv_fini(&parser, take_cell, take_record, importing) != 0))) {
            stop(importing, "after line %lld: %s", (long long)importing->line,
                 csv_strerror(csv_error(&parser)));
        }
        progress_tell(&importing->import->progress, packed_place(reader), packed_size(reader));
    }
    csv_free(&parser);
    json_object_put(importing->row);
    for (size_t i = 0; i < importing->columns_count; i++) {
        free(importing->columns[i]);
    }
    free(chunk);
}

bool import_events(const struct import *import, const char *path, struct import_counts *ret_counts,
                   char *ret_error)
{
    struct packed_reader *reader = packed_open(path, ret_error);
    if (!reader) {
        return false;
    }
    struct importing *importing = mem_zalloc(1, sizeof(*importing));
    importing->import = import;
    importing->error = ret_error;
    importing->now_us = clock_now_us();
    importing->committer = committer_new(import->config, true);
    importing->pg_options =
        (struct pg_options){.url = import->config->database_url,
                            .application_name = "tallygatectl",
                            .connect_timeout_s = import->config->database_connect_timeout_s,
                            .statement_timeout_ms = import->config->database_timeout_ms,
                            .as_role = true};
    importing->pg = pg_new(&importing->pg_options);
    if (import->format == IMPORT_CSV) {
        read_csv(importing, reader);
    } else {
        read_ndjson(importing, reader);
    }
    record(importing);
    bool done = !importing->failed;
    *ret_counts = importing->counts;
    committer_free(importing->committer);
    pg_free(importing->pg);
    json_reader_free(&importing->reader);
    arena_free(&importing->arena);
    arena_free(&importing->scratch);
    packed_close(reader);
    free(importing);
    return done;
}
