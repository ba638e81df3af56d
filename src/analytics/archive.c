/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole partition is read by one COPY, unlike an export (export.c): it is a nightly job's, whose snapshot
 * lives as long as the disk takes to write and no client can make it longer.
 */
#include "analytics/archive.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "analytics/export.h"
#include "base/clock.h"
#include "base/mem.h"
#include "queries.h"

enum {
    LIMIT_MS = 12 * 3600 * 1000,
    PATIENCE_MS = 10 * 60000, /* of waiting until everybody lets go of the events */
    PAUSE_FIRST_MS = 100,     /* twice as long each time: while we wait, so does everybody */
    PAUSE_MAX_MS = 10000,
    CHUNK_BYTES = 1024 * 1024,
    LINE_MAX_BYTES = 2 * 1024 * 1024, /* of an event, whose metadata may have numbers of 300 digits each */
    TELL_EVERY = 1000,
};

static const struct pg_statement PARTITIONS = {"archive_partitions", sql_archive_partitions};
static const struct pg_statement NOTE = {
    "archive_note",
    "INSERT INTO event_archives (partition, first, next, events, file, bytes, sha256, dropped_at) "
    "SELECT name, first, next, $2, $3, $4, decode($5, 'hex'), CASE WHEN $6 THEN now() END FROM event_partitions WHERE name = $1 RETURNING id"};
static const struct pg_statement ATTACHED = {
    "archive_attached",
    "SELECT attached, (SELECT reltuples FROM pg_class WHERE oid = name::regclass)::bigint, name::regclass::oid "
    "FROM event_partitions WHERE name = $1"};
/* Still that table, and not one that was made anew under its name. */
static const struct pg_statement SAME = {
    "archive_same",
    "SELECT FROM event_partitions WHERE name = $1 AND NOT attached AND name::regclass::oid = $2::oid"};
static const struct pg_statement COUNT = {"archive_count", "SELECT count_events($1)"};
static const struct pg_statement DETACH = {"archive_detach", "SELECT detach_event_partition($1)"};
static const struct pg_statement AUDIT = {
    "archive_audit", "INSERT INTO audit_log (action, subject, detail) VALUES ($1, 'partition:' || $2, "
                     "jsonb_build_object('events', $3::bigint, 'file', $4::text))"};
/* Whether its partition went with it, or by itself afterwards. */
static const struct pg_statement KNOWN = {
    "archive_known",
    "SELECT a.id, a.partition, a.events, (a.first AT TIME ZONE 'UTC')::date, CASE length(a.partition) WHEN 14 THEN 'month' ELSE 'day' END, "
    "EXISTS (SELECT FROM event_archives d WHERE d.partition = a.partition AND d.dropped_at >= a.created_at) AS dropped "
    "FROM event_archives a WHERE a.sha256 = decode($1, 'hex') ORDER BY a.dropped_at DESC NULLS LAST, a.id DESC LIMIT 1"};
static const struct pg_statement ENSURE = {"archive_ensure", "SELECT ensure_event_partition($1::date, $2)"};
static const struct pg_statement RESTORE = {"archive_restore", sql_archive_restore};
/* Of one that was dropped by itself only when these are all that it had. */
static const struct pg_statement RESTORED = {
    "archive_restored",
    "UPDATE event_archives SET restored_at = now() WHERE partition = $2 AND dropped_at IS NOT NULL "
    "AND (id = $1 OR (file IS NULL AND events = $3))"};

static bool fail(char *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(char *ret_error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_error, ARCHIVE_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

static bool database_failed(char *ret_error, const char *what)
{
    return fail(ret_error, "%s: the database did not do it; see the line above", what);
}

/* What stands in a statement's text must be a name of ours. */
static bool is_partition(const char *name)
{
    size_t length = strlen(name);
    return strncmp(name, "events_", 7) == 0 && (length == 14 || length == 17) &&
           strspn(name + 7, "0123456789_") == length - 7;
}

enum err archive_partitions(struct pg *pg, PGresult **ret_rows)
{
    return pg_query(pg, &PARTITIONS, NULL, ret_rows);
}

/* ---- writing ---- */

struct writing {
    struct packed_writer *writer;
    const struct progress *progress;
    int64_t events;
    int64_t about; /* so many there are, says the planner */
    char *error;
    bool failed;
};

static bool take_row(void *argument, const char *row, size_t length)
{
    struct writing *writing = argument;
    if (!row) {
        return true;
    }
    writing->failed = !packed_write(writing->writer, row, length, writing->error);
    if (++writing->events % TELL_EVERY == 0) {
        progress_tell(writing->progress, writing->events,
                      writing->about > writing->events ? writing->about : 0);
    }
    return !writing->failed;
}

/* Read the file that was written: is it whole, and does it hold as many lines? */
static bool check(const char *path, int64_t events, const struct packed_sum *sum, char *error)
{
    char *chunk = mem_alloc(CHUNK_BYTES);
    struct packed_reader *reader = packed_open(path, error);
    struct packed_sum found;
    int64_t lines = 0;
    size_t length = 0; /* of the line in hand */
    bool too_long = false;
    ssize_t n = reader ? 1 : -1;
    while ((n = n > 0 ? packed_read(reader, chunk, CHUNK_BYTES, error) : n) > 0) {
        const char *at = chunk, *end = chunk + n, *feed;
        for (; (feed = memchr(at, '\n', (size_t)(end - at))); at = feed + 1) {
            too_long = too_long || length + (size_t)(feed - at) >= LINE_MAX_BYTES;
            length = 0;
            lines++;
        }
        length += (size_t)(end - at);
    }
    bool same = n == 0 && packed_sum(reader, &found);
    if (same && too_long) { /* archive_restore() would not take it */
        same = fail(error, "%s: has a line of more than %d bytes", path, LINE_MAX_BYTES);
    }
    if (same && (lines != events || found.bytes != sum->bytes ||
                 memcmp(found.sha256, sum->sha256, CRYPTO_SHA256_SIZE) != 0)) {
        same = fail(error, "%s: does not read as it was written", path);
    }
    packed_close(reader);
    free(chunk);
    return same;
}

/* `sha256sum -c` reads it. */
static bool put_sum(const struct archive *archive, char *error)
{
    char path[ARCHIVE_PATH_SIZE + 16], text[ARCHIVE_PATH_SIZE + 80];
    const char *slash = strrchr(archive->file, '/');
    snprintf(path, sizeof(path), "%s.sha256", archive->file);
    int length = snprintf(text, sizeof(text), "%s  %s\n", archive->sha256, slash ? slash + 1 : archive->file);
    return packed_put(path, text, (size_t)length, error);
}

static bool name_file(struct archive *archive, const char *directory, char *error)
{
    char stamp[32];
    int64_t now_us = clock_now_us();
    time_t now = (time_t)(now_us / USEC_PER_SEC);
    struct tm utc;
    gmtime_r(&now, &utc);
    size_t date = strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &utc);
    snprintf(stamp + date, sizeof(stamp) - date, ".%06dZ", (int)(now_us % USEC_PER_SEC));
    int length = snprintf(archive->file, sizeof(archive->file), "%s/%s-%s.ndjson.zst", directory,
                          archive->partition, stamp);
    return (size_t)length < sizeof(archive->file) || fail(error, "%.80s…: the path is too long", directory);
}

/* COPY takes no parameters; look() has seen that the name is one of ours. */
static void put_select(struct buf *select, const char *partition)
{
    static const char PLACE[] = "events_default AS";
    const char *at = strstr(sql_archive_events, PLACE);
    buf_init(select, 64 * 1024);
    buf_append(select, sql_archive_events, (size_t)(at - sql_archive_events));
    buf_puts(select, partition);
    buf_puts(select, at + strcspn(at, " "));
}

static bool write_file(struct pg *pg, struct archive *archive, const char *directory, int64_t about,
                       const struct progress *progress, char *error)
{
    struct buf select;
    struct packed_sum sum;
    struct writing writing = {.progress = progress, .about = about, .error = error};
    if (!name_file(archive, directory, error)) {
        return false;
    }
    writing.writer = packed_create(archive->file, error);
    if (!writing.writer) {
        return false;
    }
    put_select(&select, archive->partition);
    const struct pg_copy copy = {
        .name = "archive", .select = buf_text(&select), .options = EXPORT_PLAIN_LINES, .limit_ms = LIMIT_MS};
    const struct pg_params none = {0};
    enum err e = pg_copy_out(pg, &copy, &none, take_row, &writing);
    buf_free(&select);
    if (e || writing.failed) {
        packed_discard(writing.writer);
        return writing.failed ? false : database_failed(error, archive->partition);
    }
    if (!packed_finish(writing.writer, &sum, error) || !check(archive->file, writing.events, &sum, error)) {
        return false;
    }
    archive->events = writing.events;
    archive->bytes = sum.bytes;
    crypto_hex(sum.sha256, sizeof(sum.sha256), archive->sha256);
    return put_sum(archive, error);
}

static enum err note(struct pg *pg, const struct archive *archive, bool dropped)
{
    struct pg_params params = {0}, entry = {0};
    bool written = *archive->file;
    pg_text(&params, archive->partition);
    pg_int(&params, archive->events);
    pg_text(&params, written ? archive->file : NULL);
    pg_int(&params, archive->bytes);
    pg_text(&params, written ? archive->sha256 : NULL);
    pg_text(&params, dropped ? "t" : "f");
    PG_RESULT_AUTO noted = NULL;
    enum err e = pg_query(pg, &NOTE, &params, &noted);
    if (!e && PQntuples(noted) != 1) {
        return ERR_CONFLICT;
    }
    pg_text(&entry, dropped ? "events.pruned" : "events.archived");
    pg_text(&entry, archive->partition);
    pg_int(&entry, archive->events);
    pg_text(&entry, written ? archive->file : NULL);
    return e ? e : pg_query(pg, &AUDIT, &entry, NULL);
}

/* Whether it is part of the events, and about how many it has. False when there is no such partition. */
static bool look(struct pg *pg, const char *partition, bool *ret_attached, int64_t *ret_about,
                 int64_t *ret_oid, char *error)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_text(&params, partition);
    if (!is_partition(partition)) {
        return fail(error, "%s: is no partition of the events", partition);
    }
    if (pg_query(pg, &ATTACHED, &params, &row) != ERR_OK) {
        return database_failed(error, partition);
    }
    if (PQntuples(row) == 0) {
        return fail(error, "%s: there is no such partition", partition);
    }
    *ret_attached = pg_get_bool(row, 0, 0);
    *ret_about = pg_get_int(row, 0, 1);
    *ret_oid = pg_get_int(row, 0, 2);
    return true;
}

static enum err note_written(struct pg *pg, void *argument)
{
    return note(pg, argument, false);
}

bool archive_write(struct pg *pg, const char *partition, const char *directory,
                   const struct progress *progress, struct archive *ret_archive,
                   char ret_error[ARCHIVE_ERROR_SIZE])
{
    struct archive archive = {0};
    bool attached;
    int64_t about, oid;
    if (!look(pg, partition, &attached, &about, &oid, ret_error)) {
        return false;
    }
    snprintf(archive.partition, sizeof(archive.partition), "%s", partition);
    if (!write_file(pg, &archive, directory, about, progress, ret_error)) {
        return false;
    }
    if (pg_transaction(pg, note_written, &archive) != ERR_OK) {
        return database_failed(ret_error, partition);
    }
    *ret_archive = archive;
    return true;
}

/* ---- dropping ---- */

/* Again and again, as each attempt waits shortly. A backup, say, reads for as long as it takes. */
static enum err insist(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params)
{
    int64_t until_us = clock_monotonic_us() + (int64_t)PATIENCE_MS * 1000;
    for (int64_t pause_ms = PAUSE_FIRST_MS;;
         pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS) {
        enum err e = pg_query(pg, statement, params, NULL);
        if (e != ERR_UNAVAILABLE || clock_monotonic_us() > until_us) {
            return e;
        }
        const struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000L};
        nanosleep(&pause, NULL);
    }
}

struct dropping {
    const struct archive *archive;
    int64_t oid;
};

static enum err drop(struct pg *pg, void *argument)
{
    const struct dropping *dropping = argument;
    const struct archive *archive = dropping->archive;
    char sql[120];
    struct pg_params params = {0};
    PG_RESULT_AUTO same = NULL;
    snprintf(sql, sizeof(sql), "SET LOCAL lock_timeout = '60s'; LOCK TABLE %s IN ACCESS EXCLUSIVE MODE",
             archive->partition);
    pg_text(&params, archive->partition);
    pg_int(&params, dropping->oid);
    enum err e = pg_script(pg, sql);
    e = e ? e : pg_query(pg, &SAME, &params, &same);
    if (!e && PQntuples(same) == 0) {
        return ERR_CONFLICT;
    }
    e = e || !archive->events ? e : note(pg, archive, true);
    snprintf(sql, sizeof(sql), "DROP TABLE %s", archive->partition);
    return e ? e : pg_script(pg, sql);
}

static bool count(struct pg *pg, struct archive *archive, char *error)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_text(&params, archive->partition);
    enum err e = pg_query(pg, &COUNT, &params, &row);
    archive->events = e ? 0 : pg_get_int(row, 0, 0);
    return !e || database_failed(error, archive->partition);
}

bool archive_prune(struct pg *pg, const char *partition, const char *directory,
                   const struct progress *progress, struct archive *ret_archive,
                   char ret_error[ARCHIVE_ERROR_SIZE])
{
    struct archive archive = {0};
    struct pg_params params = {0};
    bool attached;
    int64_t about, oid;
    if (!look(pg, partition, &attached, &about, &oid, ret_error)) {
        return false;
    }
    snprintf(archive.partition, sizeof(archive.partition), "%s", partition);
    pg_text(&params, partition);
    if (directory && access(directory, W_OK | X_OK) != 0) { /* before anything is taken out */
        return fail(ret_error, "%s: %s", directory, strerror(errno));
    }
    if (attached && insist(pg, &DETACH, &params) != ERR_OK) {
        return database_failed(ret_error, partition);
    }
    if (!count(pg, &archive, ret_error) ||
        (directory && archive.events &&
         !write_file(pg, &archive, directory, archive.events, progress, ret_error))) {
        return false;
    }
    struct dropping dropping = {&archive, oid};
    enum err e = pg_transaction(pg, drop, &dropping);
    if (e == ERR_CONFLICT) {
        return fail(ret_error, "%s: somebody else was at it as well, and dropped it", partition);
    }
    if (e) {
        return database_failed(ret_error, partition);
    }
    *ret_archive = archive;
    return true;
}

/* ---- bringing back ---- */

/* Lines become the elements of a JSON array, which one statement takes. */
struct restoring {
    struct pg *pg;
    struct buf lines;
    struct archive_restored restored;
};

static enum err send(struct restoring *restoring)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    if (restoring->lines.length == 0) {
        return ERR_OK;
    }
    buf_putc(&restoring->lines, ']');
    pg_text(&params, buf_text(&restoring->lines));
    enum err e = restoring->lines.overflow ? ERR_INVALID : pg_query(restoring->pg, &RESTORE, &params, &row);
    if (!e) {
        restoring->restored.events += pg_get_int(row, 0, 0);
        restoring->restored.added += pg_get_int(row, 0, 1);
    }
    buf_reset(&restoring->lines);
    return e;
}

/* Whole lines go on, the rest of the last one stays at the beginning of `chunk`. */
static enum err take_lines(struct restoring *restoring, char *chunk, size_t *length)
{
    char *at = chunk, *end = chunk + *length, *feed;
    while ((feed = memchr(at, '\n', (size_t)(end - at)))) {
        buf_putc(&restoring->lines, restoring->lines.length ? ',' : '[');
        buf_append(&restoring->lines, at, (size_t)(feed - at));
        at = feed + 1;
        if (restoring->lines.length > CHUNK_BYTES) {
            enum err e = send(restoring);
            if (e) {
                return e;
            }
        }
    }
    *length = (size_t)(end - at);
    memmove(chunk, at, *length);
    return *length < LINE_MAX_BYTES ? ERR_OK : ERR_INVALID;
}

static bool bring_back(struct pg *pg, const char *path, const struct progress *progress,
                       struct archive_restored *ret_restored, char *error)
{
    struct restoring restoring = {.pg = pg};
    struct packed_reader *reader = packed_open(path, error);
    size_t length = 0;
    ssize_t n = 1;
    enum err e = ERR_OK;
    if (!reader) {
        return false;
    }
    char *chunk = mem_alloc(LINE_MAX_BYTES + CHUNK_BYTES);
    buf_init(&restoring.lines, 4 * CHUNK_BYTES);
    while (!e && (n = packed_read(reader, chunk + length, CHUNK_BYTES, error)) > 0) {
        length += (size_t)n;
        e = take_lines(&restoring, chunk, &length);
        progress_tell(progress, packed_place(reader), packed_size(reader));
    }
    e = e || n < 0 ? e : send(&restoring);
    packed_close(reader);
    buf_free(&restoring.lines);
    free(chunk);
    if (e) {
        return database_failed(error, path);
    }
    *ret_restored = restoring.restored;
    return n == 0;
}

bool archive_is_ours(struct pg *pg, const char *path, bool *ret_ours, char ret_error[ARCHIVE_ERROR_SIZE])
{
    char sha256[2 * CRYPTO_SHA256_SIZE + 1];
    struct pg_params params = {0};
    PG_RESULT_AUTO known = NULL;
    if (!packed_sum_file(path, sha256, ret_error)) {
        return false;
    }
    pg_text(&params, sha256);
    if (pg_query(pg, &KNOWN, &params, &known) != ERR_OK) {
        return database_failed(ret_error, path);
    }
    *ret_ours = PQntuples(known) > 0;
    return true;
}

bool archive_restore(struct pg *pg, const char *path, const struct progress *progress,
                     struct archive_restored *ret_restored, char ret_error[ARCHIVE_ERROR_SIZE])
{
    char sha256[2 * CRYPTO_SHA256_SIZE + 1];
    struct pg_params params = {0}, span = {0}, id = {0}, entry = {0};
    PG_RESULT_AUTO known = NULL;
    if (!packed_sum_file(path, sha256, ret_error)) {
        return false;
    }
    pg_text(&params, sha256);
    if (pg_query(pg, &KNOWN, &params, &known) != ERR_OK) {
        return database_failed(ret_error, path);
    }
    if (PQntuples(known) == 0) {
        return fail(ret_error, "%s: this installation has written no such archive", path);
    }
    if (!pg_get_bool(known, 0, 5)) {
        return fail(ret_error, "%s: its partition %s was never dropped, so its events are there", path,
                    pg_get_text(known, 0, 1));
    }
    pg_text(&span, pg_get_text(known, 0, 3));
    pg_text(&span, pg_get_text(known, 0, 4));
    pg_int(&id, pg_get_int(known, 0, 0));
    pg_text(&id, pg_get_text(known, 0, 1));
    pg_int(&id, pg_get_int(known, 0, 2));
    if (insist(pg, &ENSURE, &span) != ERR_OK || !bring_back(pg, path, progress, ret_restored, ret_error)) {
        return *ret_error ? false : database_failed(ret_error, path);
    }
    if (ret_restored->events != pg_get_int(known, 0, 2)) {
        return fail(ret_error, "%s: holds %lld events, and %lld were written", path,
                    (long long)ret_restored->events, (long long)pg_get_int(known, 0, 2));
    }
    pg_text(&entry, "events.restored");
    pg_text(&entry, pg_get_text(known, 0, 1));
    pg_int(&entry, ret_restored->added);
    pg_text(&entry, path);
    if (pg_query(pg, &RESTORED, &id, NULL) != ERR_OK || pg_query(pg, &AUDIT, &entry, NULL) != ERR_OK) {
        return database_failed(ret_error, path);
    }
    return true;
}
