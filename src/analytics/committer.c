/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/committer.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "queries.h"
#include "store/pg.h"
#include "store/pg_array.h"

enum {
    SHARDS_MAX = 1000,
    COLUMN_MAX_BYTES = 64 * 1024 * 1024, /* of one column of one statement */
    COLUMN_KEEP_BYTES = 256 * 1024,      /* memory that a column keeps between statements */
};

static const struct pg_statement RECORD = {"ingest", sql_ingest};
static const struct pg_statement KNOWN = {"ingest_known", sql_ingest_known};
static const struct pg_statement SETTLE = {"ingest_settle", sql_ingest_settle};
/* The key's first half names the purpose ("tgsh"), the second is the shard. */
static const struct pg_statement TAKE_SHARD = {"ingest_take_shard",
                                               "SELECT pg_try_advisory_lock(1952936808, $1::int)"};

enum column { WORKSPACE, ID, TYPE, VALUE, USER, METADATA, OCCURRED, RECEIPT, COLUMNS };

static const enum pg_type COLUMN_TYPES[COLUMNS] = {PG_TYPE_INT8,        PG_TYPE_TEXT, PG_TYPE_TEXT,
                                                   PG_TYPE_TEXT,        PG_TYPE_TEXT, PG_TYPE_TEXT,
                                                   PG_TYPE_TIMESTAMPTZ, PG_TYPE_UUID};

struct committer {
    struct pg_options options;
    struct pg *pg;
    uint64_t shard_generation; /* the connection that holds the shard's lock */
    int shard;
    char sqlstate[6];
    struct pg_array columns[COLUMNS];
};

struct committer *committer_new(const struct config *config, bool as_role)
{
    struct committer *committer = mem_zalloc(1, sizeof(*committer));
    committer->options = (struct pg_options){
        .url = config->database_url,
        .application_name = "tallygate-ingest",
        .connect_timeout_s = config->database_connect_timeout_s,
        .statement_timeout_ms = config->database_timeout_ms,
        .as_role = as_role,
    };
    committer->pg = pg_new(&committer->options);
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_init(&committer->columns[c], COLUMN_MAX_BYTES);
    }
    return committer;
}

void committer_free(struct committer *committer)
{
    if (!committer) {
        return;
    }
    pg_free(committer->pg);
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_free(&committer->columns[c]);
    }
    free(committer);
}

const char *committer_sqlstate(const struct committer *committer)
{
    return committer->sqlstate;
}

/* Hold a shard number that no other connection holds. */
static enum err take_shard(struct committer *committer)
{
    enum err e = pg_ready(committer->pg);
    if (e || committer->shard_generation == pg_generation(committer->pg)) {
        return e;
    }
    for (int shard = 0; shard < SHARDS_MAX; shard++) {
        struct pg_params params = {0};
        PG_RESULT_AUTO result = NULL;
        pg_int(&params, shard);
        e = pg_query(committer->pg, &TAKE_SHARD, &params, &result);
        if (e) {
            return e;
        }
        if (pg_get_bool(result, 0, 0)) {
            committer->shard = shard;
            committer->shard_generation = pg_generation(committer->pg);
            return ERR_OK;
        }
    }
    return ERR_INTERNAL;
}

/* The order of the key of event_ids, as PostgreSQL's collation "C" has it, then that of arrival. */
static int compare_entries(const void *a, const void *b)
{
    const struct committer_entry *left = a, *right = b;
    if (left->workspace_id != right->workspace_id) {
        return left->workspace_id < right->workspace_id ? -1 : 1;
    }
    const struct event *l = left->event, *r = right->event;
    int order = memcmp(l->id, r->id, l->id_length < r->id_length ? l->id_length : r->id_length);
    order = order ? order : (l->id_length > r->id_length) - (l->id_length < r->id_length);
    return order ? order : (left->place > right->place) - (left->place < right->place);
}

static void put_event(struct pg_array *columns, const struct committer_entry *entry)
{
    const struct event *event = entry->event;
    pg_array_int(&columns[WORKSPACE], entry->workspace_id);
    pg_array_bytes(&columns[ID], event->id, event->id_length);
    pg_array_bytes(&columns[TYPE], event->type, event->type_length);
    pg_array_bytes(&columns[VALUE], event->value, event->value_length);
    pg_array_bytes(&columns[USER], event->user_id, event->user_id_length);
    if (event->metadata) {
        pg_array_bytes(&columns[METADATA], event->metadata, event->metadata_length);
    } else {
        pg_array_null(&columns[METADATA]);
    }
    pg_array_time(&columns[OCCURRED], event->occurred_us);
    pg_array_bytes(&columns[RECEIPT], event->receipt, sizeof(event->receipt));
}

static bool fill_columns(struct committer *committer, const struct committer_entry *entries, size_t count,
                         struct pg_params *params)
{
    struct pg_array *columns = committer->columns;
    bool fits = true;
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_start(&columns[c], COLUMN_TYPES[c]);
    }
    for (size_t i = 0; i < count; i++) {
        put_event(columns, &entries[i]);
    }
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_param(params, &columns[c]);
        fits = fits && !columns[c].buf.overflow;
    }
    return fits;
}

/* A batch of long metadata must not hold its memory for ever. */
static void trim_columns(struct committer *committer)
{
    for (int c = 0; c < COLUMNS; c++) {
        buf_trim(&committer->columns[c].buf, COLUMN_KEEP_BYTES);
    }
}

static void take_standing(struct event *event, const PGresult *result, int row, int first_column)
{
    if (!PQgetisnull(result, row, first_column)) {
        event->fate = pg_get_bool(result, row, first_column) ? EVENT_RECORDED : EVENT_DUPLICATE;
        event->occurred_us = pg_get_int(result, row, first_column + 1);
    }
}

/* What the statement does not mention is recorded. Returns how many are still open. */
static size_t take_fates(const PGresult *result, const struct committer_entry *entries, size_t count)
{
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        entries[i].event->fate = EVENT_RECORDED;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        struct event *event = entries[pg_get_int(result, row, 0) - 1].event;
        event->fate = pg_get_bool(result, row, 1) ? EVENT_PENDING : EVENT_HOMELESS;
        if (event->fate == EVENT_PENDING) {
            take_standing(event, result, row, 2);
        }
        open += event->fate == EVENT_PENDING;
    }
    return open;
}

/* Ask for the ids whose rows the batch's snapshot could not show. What is still not there then has no
 * open workspace to be in, unless we ask another server than the one that recorded. */
static enum err settle(struct committer *committer, const struct committer_entry *entries, size_t count,
                       size_t open_count)
{
    struct pg_array *columns = committer->columns;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    struct event **open = mem_zalloc(open_count, sizeof(*open));
    size_t n = 0;

    pg_array_start(&columns[WORKSPACE], PG_TYPE_INT8);
    pg_array_start(&columns[ID], PG_TYPE_TEXT);
    pg_array_start(&columns[RECEIPT], PG_TYPE_UUID);
    for (size_t i = 0; i < count; i++) {
        struct event *event = entries[i].event;
        if (event->fate == EVENT_PENDING) {
            pg_array_int(&columns[WORKSPACE], entries[i].workspace_id);
            pg_array_bytes(&columns[ID], event->id, event->id_length);
            pg_array_bytes(&columns[RECEIPT], event->receipt, sizeof(event->receipt));
            open[n++] = event;
        }
    }
    pg_array_param(&params, &columns[WORKSPACE]);
    pg_array_param(&params, &columns[ID]);
    pg_array_param(&params, &columns[RECEIPT]);
    uint64_t generation = pg_generation(committer->pg);
    enum err e = pg_query(committer->pg, &SETTLE, &params, &result);
    e = !e && generation != pg_generation(committer->pg) ? ERR_UNAVAILABLE : e;
    for (int row = 0; !e && row < PQntuples(result); row++) {
        take_standing(open[pg_get_int(result, row, 0) - 1], result, row, 1);
    }
    for (size_t i = 0; !e && i < n; i++) {
        if (open[i]->fate == EVENT_PENDING) {
            open[i]->fate = EVENT_HOMELESS;
        }
    }
    free(open);
    return e;
}

static enum err record_sorted(struct committer *committer, const struct committer_entry *entries,
                              size_t count)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    committer->sqlstate[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        entries[i].event->fate = EVENT_PENDING;
    }
    enum err e = take_shard(committer);
    if (e) {
        return e;
    }
    if (!fill_columns(committer, entries, count, &params)) {
        return ERR_INVALID;
    }
    pg_int(&params, committer->shard);
    e = pg_query(committer->pg, &RECORD, &params, &result);
    if (e) {
        snprintf(committer->sqlstate, sizeof(committer->sqlstate), "%s", pg_sqlstate(committer->pg));
        return e;
    }
    size_t open = take_fates(result, entries, count);
    return open ? settle(committer, entries, count, open) : ERR_OK;
}

/* Find those that stand in events already: duplicates from before the window. The others move to the
 * front, in order; *ret_count tells how many they are. */
static enum err drop_known(struct committer *committer, struct committer_entry *entries, size_t count,
                           size_t *ret_count)
{
    struct pg_array *columns = committer->columns;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;

    pg_array_start(&columns[WORKSPACE], PG_TYPE_INT8);
    pg_array_start(&columns[ID], PG_TYPE_TEXT);
    pg_array_start(&columns[OCCURRED], PG_TYPE_TIMESTAMPTZ);
    for (size_t i = 0; i < count; i++) {
        pg_array_int(&columns[WORKSPACE], entries[i].workspace_id);
        pg_array_bytes(&columns[ID], entries[i].event->id, entries[i].event->id_length);
        pg_array_time(&columns[OCCURRED], entries[i].event->occurred_us);
    }
    pg_array_param(&params, &columns[WORKSPACE]);
    pg_array_param(&params, &columns[ID]);
    pg_array_param(&params, &columns[OCCURRED]);
    enum err e = pg_query(committer->pg, &KNOWN, &params, &result);
    if (e) {
        return e;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        entries[pg_get_int(result, row, 0) - 1].event->fate = EVENT_DUPLICATE;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct committer_entry entry = entries[i];
        if (entry.event->fate != EVENT_DUPLICATE) {
            entries[i] = entries[kept];
            entries[kept++] = entry;
        }
    }
    *ret_count = kept;
    return ERR_OK;
}

/* One attempt. Known from before the window is a fate like any other, so what is left is recorded at once. */
static enum err record_unknown(struct committer *committer, struct committer_entry *entries, size_t count)
{
    enum err e = record_sorted(committer, entries, count);
    if (e != ERR_CONFLICT) {
        return e;
    }
    size_t rest = count;
    e = drop_known(committer, entries, count, &rest);
    if (e || rest == 0) {
        return e;
    }
    e = rest < count ? record_sorted(committer, entries, rest) : ERR_INVALID;
    return e == ERR_CONFLICT ? ERR_INVALID : e;
}

enum err committer_record(struct committer *committer, struct committer_entry *entries, size_t count)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    enum err e = record_unknown(committer, entries, count);
    trim_columns(committer);
    return e;
}

/* Attempts until one tells what becomes of the entries. After a lost connection that is safe: the receipts
 * tell what was recorded. */
static enum err record_in_time(struct committer *committer, struct committer_entry *entries, size_t count,
                               int64_t deadline_us)
{
    static const struct timespec PAUSE = {.tv_nsec = 20 * 1000000L};
    for (;;) {
        if (clock_monotonic_us() >= deadline_us) {
            return ERR_UNAVAILABLE;
        }
        enum err e = record_unknown(committer, entries, count);
        if (e != ERR_UNAVAILABLE) {
            return e;
        }
        nanosleep(&PAUSE, NULL);
    }
}

/* The depth is that of halving a batch. */
static enum err sift_sorted(struct committer *committer, struct committer_entry *entries, size_t count,
                            int64_t deadline_us)
{
    enum err e = record_in_time(committer, entries, count, deadline_us);
    if (e != ERR_INVALID) {
        return e;
    }
    if (count == 1) {
        entries[0].event->fate = EVENT_REFUSED;
        return ERR_OK;
    }
    qsort(entries, count, sizeof(*entries), compare_entries); /* dropping known ones has spoilt the order */
    e = sift_sorted(committer, entries, count / 2, deadline_us);
    return e ? e : sift_sorted(committer, entries + count / 2, count - count / 2, deadline_us);
}

enum err committer_record_in_time(struct committer *committer, struct committer_entry *entries, size_t count,
                                  int64_t deadline_us)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    enum err e = record_in_time(committer, entries, count, deadline_us);
    trim_columns(committer);
    return e;
}

enum err committer_sift(struct committer *committer, struct committer_entry *entries, size_t count,
                        int64_t deadline_us)
{
    qsort(entries, count, sizeof(*entries), compare_entries);
    enum err e = sift_sorted(committer, entries, count, deadline_us);
    trim_columns(committer);
    return e;
}
