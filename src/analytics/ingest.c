/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group commit.
 *
 * A request thread puts a ticket (its workspace and events) into a bounded queue and sleeps. One
 * committer thread a worker takes all tickets that wait, up to a bound, and records their events
 * by one statement, which is one transaction: one round trip and one fsync serve all of them.
 * While it runs, the next tickets gather, so batches grow by themselves as load does, and an idle
 * service answers a single event at once. When the transaction is durable the threads wake.
 *
 * What is guaranteed: no event is answered as recorded before its transaction committed; what was
 * answered is there; each id counts once.
 *
 * Three things can go wrong with a batch:
 * - The database is away. The committer tries again until the tickets' wait limit, then answers
 *   them 503. The statement is safe to repeat, as ids make it idempotent.
 * - The connection is lost during the commit, so nobody knows whether it took effect. Repeating the
 *   batch settles it: a row that carries this ticket's receipt is its own earlier success and reads
 *   as recorded, not as duplicate. When the wait limit comes first the answer is 503: not a promise.
 * - PostgreSQL refuses a row (SQLSTATE class 22 or 23) that our checks let through. The batch is cut
 *   in halves until the row stands alone; it is refused and its neighbours are recorded.
 *
 * Every committer has a shard number of its own in the whole cluster, held by an advisory lock for
 * as long as its connection lives, so two committers never wait for the same rollup row. Were two
 * ever to share one, they would only wait for each other: sorted upserts cannot deadlock.
 */
#include "analytics/ingest.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "queries.h"
#include "store/pg.h"
#include "store/pg_array.h"

enum {
    RETRY_PAUSE_MS = 20,
    SHARDS_MAX = 1000,
    COLUMN_MAX_BYTES = 64 * 1024 * 1024, /* of one column of one statement */
};

static const struct pg_statement RECORD = {"ingest", sql_ingest};
static const struct pg_statement SETTLE = {"ingest_settle", sql_ingest_settle};
/* The key's first half names the purpose ("tgsh"), the second is the shard. */
static const struct pg_statement TAKE_SHARD = {"ingest_take_shard",
                                               "SELECT pg_try_advisory_lock(1952936808, $1::int)"};

struct ticket {
    struct ticket *next;
    int64_t workspace_id;
    struct event *events;
    size_t count;
    int64_t deadline_us; /* monotonic */
    bool done;
    enum err result;
    pthread_cond_t wake;
};

enum column { WORKSPACE, ID, TYPE, VALUE, USER, METADATA, OCCURRED, RECEIPT, COLUMNS };

static const enum pg_type COLUMN_TYPES[COLUMNS] = {PG_TYPE_INT8,        PG_TYPE_TEXT, PG_TYPE_TEXT,
                                                   PG_TYPE_TEXT,        PG_TYPE_TEXT, PG_TYPE_TEXT,
                                                   PG_TYPE_TIMESTAMPTZ, PG_TYPE_UUID};

/* One event of a batch and whose it is. */
struct entry {
    int64_t workspace_id;
    struct event *event;
};

struct ingest {
    const struct config *config;
    struct metrics *metrics;
    pthread_t thread;

    pthread_mutex_t lock; /* over the queue */
    pthread_cond_t work;
    struct ticket *first;
    struct ticket **last;
    size_t queued_events;
    bool stopping;

    /* The committer's alone: */
    struct pg_options options;
    struct pg *pg;
    uint64_t shard_generation; /* the connection that holds the shard's lock */
    int shard;
    struct pg_array columns[COLUMNS];
    struct entry *entries;
    size_t entries_capacity;
};

/* ---- the request's side ---- */

static void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum err ingest_record(struct ingest *ingest, int64_t workspace_id, struct event *events, size_t count)
{
    struct ticket ticket = {
        .workspace_id = workspace_id,
        .events = events,
        .count = count,
        .deadline_us = clock_monotonic_us() + ingest->config->ingest_wait_ms * 1000,
    };
    pthread_mutex_lock(&ingest->lock);
    if (ingest->queued_events + count > (size_t)ingest->config->ingest_queue_events) {
        pthread_mutex_unlock(&ingest->lock);
        return ERR_UNAVAILABLE;
    }
    cond_init_monotonic(&ticket.wake);
    *ingest->last = &ticket;
    ingest->last = &ticket.next;
    ingest->queued_events += count;
    pthread_cond_signal(&ingest->work);
    /* The committer keeps the deadline, also for us: it may be using the events until it says so. */
    while (!ticket.done) {
        pthread_cond_wait(&ticket.wake, &ingest->lock);
    }
    pthread_mutex_unlock(&ingest->lock);
    pthread_cond_destroy(&ticket.wake);
    return ticket.result;
}

/* ---- the committer's side ---- */

/* Wait for work and take the tickets of one batch off the queue: NULL when it is time to stop and
 * nothing is left. */
static struct ticket *take_tickets(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    while (!ingest->first && !ingest->stopping) {
        pthread_cond_wait(&ingest->work, &ingest->lock);
    }
    struct ticket *taken = ingest->first;
    struct ticket **end = &ingest->first;
    size_t events = 0;
    while (*end && (events == 0 || events + (*end)->count <= (size_t)ingest->config->ingest_batch_events)) {
        events += (*end)->count;
        end = &(*end)->next;
    }
    ingest->first = *end;
    if (!ingest->first) {
        ingest->last = &ingest->first;
    }
    if (taken) {
        *end = NULL;
    }
    pthread_mutex_unlock(&ingest->lock);
    return taken;
}

/* What a ticket is told when its batch ended with `e`: a part that was recorded before the fault is
 * durable, and a ticket that lies in it whole must not be sent again. */
static enum err ticket_result(const struct ticket *ticket, enum err e)
{
    for (size_t i = 0; i < ticket->count && e; i++) {
        if (ticket->events[i].fate == EVENT_PENDING) {
            return e;
        }
    }
    return ERR_OK;
}

/* Tell the tickets their result. Each goes out of scope in its thread as soon as it is done. */
static void finish_tickets(struct ingest *ingest, struct ticket *tickets, enum err result)
{
    pthread_mutex_lock(&ingest->lock);
    while (tickets) {
        struct ticket *next = tickets->next;
        ingest->queued_events -= tickets->count;
        tickets->result = ticket_result(tickets, result);
        tickets->done = true;
        pthread_cond_signal(&tickets->wake);
        tickets = next;
    }
    pthread_mutex_unlock(&ingest->lock);
}

/* Answer 503 to the tickets whose wait limit is over; returns the others. */
static struct ticket *expire_tickets(struct ingest *ingest, struct ticket *tickets)
{
    struct ticket *expired = NULL, *kept = NULL;
    struct ticket **kept_end = &kept;
    int64_t now_us = clock_monotonic_us();
    while (tickets) {
        struct ticket *next = tickets->next;
        if (now_us >= tickets->deadline_us) {
            tickets->next = expired;
            expired = tickets;
        } else {
            tickets->next = NULL;
            *kept_end = tickets;
            kept_end = &tickets->next;
        }
        tickets = next;
    }
    finish_tickets(ingest, expired, ERR_UNAVAILABLE);
    return kept;
}

/* Hold a shard number that no other connection holds. */
static enum err take_shard(struct ingest *ingest)
{
    enum err e = pg_ready(ingest->pg);
    if (e || ingest->shard_generation == pg_generation(ingest->pg)) {
        return e;
    }
    for (int shard = 0; shard < SHARDS_MAX; shard++) {
        struct pg_params params = {0};
        PG_RESULT_AUTO result = NULL;
        pg_int(&params, shard);
        e = pg_query(ingest->pg, &TAKE_SHARD, &params, &result);
        if (e) {
            return e;
        }
        if (pg_get_bool(result, 0, 0)) {
            ingest->shard = shard;
            ingest->shard_generation = pg_generation(ingest->pg);
            return ERR_OK;
        }
    }
    return ERR_INTERNAL;
}

static bool fill_columns(struct ingest *ingest, const struct entry *entries, size_t count,
                         struct pg_params *params)
{
    struct pg_array *columns = ingest->columns;
    bool fits = true;
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_start(&columns[c], COLUMN_TYPES[c]);
    }
    for (size_t i = 0; i < count; i++) {
        const struct event *event = entries[i].event;
        pg_array_int(&columns[WORKSPACE], entries[i].workspace_id);
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
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_param(params, &columns[c]);
        fits = fits && !columns[c].buf.overflow;
    }
    return fits;
}

/* Rows are {place, ours, time}, the place counted from 1. */
static void take_fates(const PGresult *result, struct event *const *events)
{
    for (int i = 0; i < PQntuples(result); i++) {
        struct event *event = events[pg_get_int(result, i, 0) - 1];
        if (!PQgetisnull(result, i, 2)) {
            event->fate = pg_get_bool(result, i, 1) ? EVENT_RECORDED : EVENT_DUPLICATE;
            event->occurred_us = pg_get_int(result, i, 2);
        }
    }
}

/* Ask for the ids whose fate the batch's snapshot could not show. What is still not there then has
 * no open workspace to be in. */
static enum err settle(struct ingest *ingest, const struct entry *entries, size_t count)
{
    struct pg_array *columns = ingest->columns;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    struct event **open = mem_zalloc(count, sizeof(*open));
    size_t open_count = 0;

    pg_array_start(&columns[WORKSPACE], PG_TYPE_INT8);
    pg_array_start(&columns[ID], PG_TYPE_TEXT);
    pg_array_start(&columns[RECEIPT], PG_TYPE_UUID);
    for (size_t i = 0; i < count; i++) {
        struct event *event = entries[i].event;
        if (event->fate == EVENT_PENDING) {
            pg_array_int(&columns[WORKSPACE], entries[i].workspace_id);
            pg_array_bytes(&columns[ID], event->id, event->id_length);
            pg_array_bytes(&columns[RECEIPT], event->receipt, sizeof(event->receipt));
            open[open_count++] = event;
        }
    }
    enum err e = ERR_OK;
    if (open_count) {
        pg_array_param(&params, &columns[WORKSPACE]);
        pg_array_param(&params, &columns[ID]);
        pg_array_param(&params, &columns[RECEIPT]);
        e = pg_query(ingest->pg, &SETTLE, &params, &result);
        if (!e) {
            take_fates(result, open);
        }
        for (size_t i = 0; !e && i < open_count; i++) {
            if (open[i]->fate == EVENT_PENDING) {
                open[i]->fate = EVENT_HOMELESS;
            }
        }
    }
    free(open);
    return e;
}

/* One attempt at one statement. */
static enum err commit_once(struct ingest *ingest, const struct entry *entries, size_t count)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    enum err e = take_shard(ingest);
    if (e) {
        return e;
    }
    if (!fill_columns(ingest, entries, count, &params)) {
        return ERR_TOO_LARGE;
    }
    pg_int(&params, ingest->shard);
    e = pg_query(ingest->pg, &RECORD, &params, &result);
    if (e) {
        return e;
    }
    struct event **events = mem_alloc(count * sizeof(*events));
    for (size_t i = 0; i < count; i++) {
        events[i] = entries[i].event;
    }
    take_fates(result, events);
    free(events);
    return settle(ingest, entries, count);
}

/* Record `entries`, in halves when they are too much for one statement or hold a row that PostgreSQL
 * refuses; that one is found. The depth is that of halving a batch. */
static enum err commit(struct ingest *ingest, const struct entry *entries, size_t count)
{
    enum err e = commit_once(ingest, entries, count);
    if (e != ERR_INVALID && e != ERR_CONFLICT && e != ERR_TOO_LARGE) {
        return e;
    }
    if (count == 1) {
        entries[0].event->fate = EVENT_REFUSED;
        return ERR_OK;
    }
    e = commit(ingest, entries, count / 2);
    return e ? e : commit(ingest, entries + count / 2, count - count / 2);
}

static size_t gather(struct ingest *ingest, const struct ticket *tickets)
{
    size_t count = 0;
    for (const struct ticket *t = tickets; t; t = t->next) {
        count += t->count;
    }
    if (count > ingest->entries_capacity) {
        ingest->entries = mem_resize(ingest->entries, count * sizeof(*ingest->entries));
        ingest->entries_capacity = count;
    }
    size_t n = 0;
    for (const struct ticket *t = tickets; t; t = t->next) {
        for (size_t i = 0; i < t->count; i++) {
            t->events[i].fate = EVENT_PENDING;
            ingest->entries[n++] = (struct entry){t->workspace_id, &t->events[i]};
        }
    }
    return count;
}

static void count_fates(struct ingest *ingest, size_t count)
{
    uint64_t recorded = 0, duplicates = 0, refused = 0;
    for (size_t i = 0; i < count; i++) {
        refused += ingest->entries[i].event->fate == EVENT_REFUSED;
        recorded += ingest->entries[i].event->fate == EVENT_RECORDED;
        duplicates += ingest->entries[i].event->fate == EVENT_DUPLICATE;
    }
    if (refused) {
        log_warn("PostgreSQL refused %llu of %zu events, the last with SQLSTATE %s",
                 (unsigned long long)refused, count, pg_sqlstate(ingest->pg));
    }
    log_debug("committed %zu events: %llu recorded, %llu duplicates", count, (unsigned long long)recorded,
              (unsigned long long)duplicates);
    atomic_fetch_add(&ingest->metrics->events_recorded, recorded);
    atomic_fetch_add(&ingest->metrics->events_duplicate, duplicates);
    atomic_fetch_add(&ingest->metrics->ingest_batches, 1);
}

/* Bring one batch to its end, whatever happens on the way. */
static void work_off(struct ingest *ingest, struct ticket *tickets)
{
    while (tickets) {
        size_t count = gather(ingest, tickets);
        enum err e = commit(ingest, ingest->entries, count);
        if (e != ERR_UNAVAILABLE) {
            count_fates(ingest, count);
            finish_tickets(ingest, tickets, e);
            return;
        }
        tickets = expire_tickets(ingest, tickets);
        if (tickets) {
            struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
            nanosleep(&pause, NULL);
        }
    }
}

static void *run_committer(void *argument)
{
    struct ingest *ingest = argument;
    struct ticket *tickets;
    while ((tickets = take_tickets(ingest))) {
        work_off(ingest, tickets);
    }
    log_thread_end();
    return NULL;
}

struct ingest *ingest_start(const struct config *config, struct metrics *metrics)
{
    struct ingest *ingest = mem_zalloc(1, sizeof(*ingest));
    ingest->config = config;
    ingest->metrics = metrics;
    ingest->last = &ingest->first;
    ingest->options = (struct pg_options){
        .url = config->database_url,
        .application_name = "tallygate-ingest",
        .connect_timeout_s = config->database_connect_timeout_s,
        .statement_timeout_ms = config->database_timeout_ms,
    };
    ingest->pg = pg_new(&ingest->options);
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_init(&ingest->columns[c], COLUMN_MAX_BYTES);
    }
    pthread_mutex_init(&ingest->lock, NULL);
    pthread_cond_init(&ingest->work, NULL);
    if (pthread_create(&ingest->thread, NULL, run_committer, ingest) != 0) {
        return NULL; /* the worker ends on this; nothing to tidy */
    }
    return ingest;
}

void ingest_stop(struct ingest *ingest)
{
    if (!ingest) {
        return;
    }
    pthread_mutex_lock(&ingest->lock);
    ingest->stopping = true;
    pthread_cond_signal(&ingest->work);
    pthread_mutex_unlock(&ingest->lock);
    pthread_join(ingest->thread, NULL);
    pg_free(ingest->pg);
    for (int c = 0; c < COLUMNS; c++) {
        pg_array_free(&ingest->columns[c]);
    }
    free(ingest->entries);
    pthread_cond_destroy(&ingest->work);
    pthread_mutex_destroy(&ingest->lock);
    free(ingest);
}
