/* SPDX-License-Identifier: Apache-2.0 */
#include "work/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/trace.h"
#include "queries.h"

enum { FULL_LOOK_EVERY_US = 1000000, ORPHANS_EVERY_US = 30000000, ARRAY_MAX_BYTES = 4 * 1024 * 1024 };

static const struct pg_statement PUT = {
    "queue_put",
    "INSERT INTO jobs (type, payload, priority, run_at, unique_key, trace) "
    "VALUES ($1, coalesce($2, '{}')::jsonb, $3, now() + $4::bigint * interval '1 s', $5, $6) ON CONFLICT DO NOTHING RETURNING id"};
static const struct pg_statement LIVE = {
    "queue_live",
    "INSERT INTO job_runners (id, host, pid, threads, alive_until) VALUES ($1::uuid, $2, $3, $4, now() + $5::bigint * interval '1 s') "
    "ON CONFLICT (id) DO UPDATE SET alive_until = excluded.alive_until"};
/* The row of one that holds jobs stays until these wait again: it is by the rows that lost ones are found. */
#define HOLDS_NOTHING "NOT EXISTS (SELECT FROM jobs j WHERE j.runner = r.id AND j.state = 'running')"
static const struct pg_statement LEAVE = {
    "queue_leave",
    "WITH gone AS (DELETE FROM job_runners r WHERE id = $1::uuid AND " HOLDS_NOTHING " RETURNING id) "
    "UPDATE job_runners SET alive_until = now() WHERE id = $1::uuid AND id NOT IN (SELECT id FROM gone)"};
/* Before it, so that what a take of ours that still commits has taken is seen. */
static const struct pg_statement HOLD = {"queue_hold",
                                         "SELECT FROM job_runners WHERE id = $1::uuid FOR UPDATE"};
static const struct pg_statement FORGET = {
    "queue_forget",
    "DELETE FROM job_runners r WHERE alive_until < now() - interval '1 hour' AND " HOLDS_NOTHING};
/* Before the statement that counts what runs, whose snapshot must show what the taker before took. Whoever
 * finds it held comes again: one that hangs must keep nobody from telling what ended. */
static const struct pg_statement TRY_LOCK = {"queue_try_lock",
                                             "SELECT pg_try_advisory_xact_lock(hashtext('take jobs'))"};
static const struct pg_statement LOCK = {"queue_lock", "SELECT pg_advisory_xact_lock(hashtext('take jobs'))"};
static const struct pg_statement TAKE = {"queue_take", sql_job_take};
static const struct pg_statement DONE = {"queue_done", sql_job_done};
static const struct pg_statement FAILED = {"queue_failed", sql_job_failed};
static const struct pg_statement REAP = {"queue_reap", sql_job_reap};
/* Nobody's: whatever lost the row of who held them. */
static const struct pg_statement REAP_ORPHANS = {
    "queue_reap_orphans",
    "UPDATE jobs j SET state = 'waiting', runner = NULL, started_at = NULL, error = 'the process that ran it is not known' "
    "WHERE state = 'running' AND started_at < now() - interval '1 minute' "
    "AND NOT EXISTS (SELECT FROM job_runners r WHERE r.id = j.runner) RETURNING 1"};
static const struct pg_statement FORGET_OTHERS = {
    "queue_forget_others",
    "UPDATE jobs SET state = 'waiting', runner = NULL, started_at = NULL, attempts = attempts - 1 "
    "WHERE runner = $1::uuid AND state = 'running' AND id <> ALL ($2::bigint[])"};
static const struct pg_statement PROGRESS = {
    "queue_progress",
    "UPDATE jobs SET progress = jsonb_build_object('done', $3::bigint, 'total', nullif($4::bigint, 0)) "
    "WHERE id = $2 AND runner = $1::uuid AND state = 'running'"};

struct queue {
    const struct queue_type *types;
    size_t types_count;
    char runner[UUID_TEXT_SIZE];
    int64_t from_us[QUEUE_PRIORITIES]; /* where the next look begins */
    int64_t full_look_at_us;           /* monotonic, as the next */
    int64_t orphans_at_us;
    struct pg_array names, numbers, floors, ids, attempts, errors, delays;
};

enum err queue_put(struct pg *pg, const struct queue_order *order, int64_t *ret_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    char trace[TRACE_PARENT_SIZE];
    if (trace_current()) {
        trace_place_format(trace_current(), trace);
    }
    pg_text(&params, order->type);
    pg_text(&params, order->payload);
    pg_int(&params, order->priority);
    pg_int(&params, order->delay_s);
    pg_text(&params, order->unique_key);
    pg_text(&params, trace_current() ? trace : NULL);
    enum err e = pg_query(pg, &PUT, &params, &row);
    if (!e && ret_id) {
        *ret_id = PQntuples(row) ? pg_get_int(row, 0, 0) : 0;
    }
    return e;
}

struct queue *queue_new(const struct queue_type *types, size_t count)
{
    struct queue *queue = mem_zalloc(1, sizeof(*queue));
    struct pg_array *const arrays[] = {&queue->names,    &queue->numbers, &queue->floors, &queue->ids,
                                       &queue->attempts, &queue->errors,  &queue->delays};
    uint8_t id[16];
    queue->types = types;
    queue->types_count = count;
    uuid_v7(id);
    uuid_format(id, queue->runner);
    for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
        pg_array_init(arrays[i], ARRAY_MAX_BYTES);
    }
    return queue;
}

void queue_free(struct queue *queue)
{
    if (queue) {
        struct pg_array *const arrays[] = {&queue->names,    &queue->numbers, &queue->floors, &queue->ids,
                                           &queue->attempts, &queue->errors,  &queue->delays};
        for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
            pg_array_free(arrays[i]);
        }
        free(queue);
    }
}

const char *queue_runner(const struct queue *queue)
{
    return queue->runner;
}

enum err queue_live(const char *runner, struct pg *pg, int threads)
{
    char host[256] = "";
    struct pg_params params = {0};
    (void)gethostname(host, sizeof(host) - 1);
    pg_text(&params, runner);
    pg_text(&params, host);
    pg_int(&params, getpid());
    pg_int(&params, threads);
    pg_int(&params, QUEUE_LEASE_S);
    return pg_query(pg, &LIVE, &params, NULL);
}

static enum err leave(struct pg *pg, void *argument)
{
    struct pg_params params = {0};
    pg_text(&params, argument);
    enum err e = pg_query(pg, &HOLD, &params, NULL);
    return e ? e : pg_query(pg, &LEAVE, &params, NULL);
}

enum err queue_leave(const char *runner, struct pg *pg)
{
    char id[UUID_TEXT_SIZE];
    snprintf(id, sizeof(id), "%s", runner);
    return pg_transaction(pg, leave, id);
}

/* The types, and a number of each. */
static void put_types(struct queue *queue, struct pg_params *params, size_t offset)
{
    pg_array_start(&queue->names, PG_TYPE_TEXT);
    pg_array_start(&queue->numbers, PG_TYPE_INT8);
    for (size_t i = 0; i < queue->types_count; i++) {
        const struct queue_type *type = &queue->types[i];
        pg_array_bytes(&queue->names, type->name, strlen(type->name));
        pg_array_int(&queue->numbers, *(const int64_t *)((const char *)type + offset));
    }
    pg_array_param(params, &queue->names);
    pg_array_param(params, &queue->numbers);
}

/* ---- a turn ---- */

struct turn {
    struct queue *queue;
    const struct queue_end *ends;
    size_t ends_count;
    struct arena *arena;
    size_t most;
    struct queue_job *jobs;
    size_t count;
    bool full; /* it looks from the beginning */
    bool busy; /* somebody else takes */
};

static enum err tell_done(struct pg *pg, const struct turn *turn)
{
    struct queue *queue = turn->queue;
    struct pg_params params = {0};
    size_t count = 0;
    pg_array_start(&queue->ids, PG_TYPE_INT8);
    pg_array_start(&queue->attempts, PG_TYPE_INT8);
    for (size_t i = 0; i < turn->ends_count; i++) {
        if (!turn->ends[i].error && !turn->ends[i].given_back) {
            pg_array_int(&queue->ids, turn->ends[i].id);
            pg_array_int(&queue->attempts, turn->ends[i].attempts);
            count++;
        }
    }
    if (!count) {
        return ERR_OK;
    }
    pg_text(&params, queue->runner);
    pg_array_param(&params, &queue->ids);
    pg_array_param(&params, &queue->attempts);
    return pg_query(pg, &DONE, &params, NULL);
}

static enum err tell_failed(struct pg *pg, const struct turn *turn)
{
    struct queue *queue = turn->queue;
    struct pg_params params = {0};
    size_t count = 0;
    pg_array_start(&queue->ids, PG_TYPE_INT8);
    pg_array_start(&queue->attempts, PG_TYPE_INT8);
    pg_array_start(&queue->errors, PG_TYPE_TEXT);
    pg_array_start(&queue->delays, PG_TYPE_INT8);
    for (size_t i = 0; i < turn->ends_count; i++) {
        const struct queue_end *end = &turn->ends[i];
        if (!end->error && !end->given_back) {
            continue;
        }
        pg_array_int(&queue->ids, end->id);
        pg_array_int(&queue->attempts, end->attempts);
        if (end->given_back) {
            pg_array_null(&queue->errors);
        } else {
            pg_array_bytes(&queue->errors, end->error, strlen(end->error));
        }
        pg_array_int(&queue->delays, end->given_back ? 0 : end->delay_ms);
        count++;
    }
    if (!count) {
        return ERR_OK;
    }
    pg_text(&params, queue->runner);
    pg_array_param(&params, &queue->ids);
    pg_array_param(&params, &queue->errors);
    pg_array_param(&params, &queue->delays);
    pg_array_param(&params, &queue->attempts);
    return pg_query(pg, &FAILED, &params, NULL);
}

static enum err take(struct pg *pg, struct turn *turn)
{
    struct queue *queue = turn->queue;
    struct pg_params params = {0};
    PG_RESULT_AUTO lock = NULL;
    PG_RESULT_AUTO rows = NULL;
    int64_t last_us[QUEUE_PRIORITIES] = {0};
    enum err e = pg_query(pg, &TRY_LOCK, NULL, &lock);
    if (e || !pg_get_bool(lock, 0, 0)) {
        turn->busy = !e;
        return e;
    }
    pg_text(&params, queue->runner);
    pg_int(&params, (int64_t)turn->most);
    pg_array_start(&queue->floors, PG_TYPE_TIMESTAMPTZ);
    for (int p = 0; p < QUEUE_PRIORITIES; p++) {
        pg_array_time(&queue->floors, turn->full ? 0 : queue->from_us[p]);
    }
    pg_array_param(&params, &queue->floors);
    put_types(queue, &params, offsetof(struct queue_type, concurrency));
    e = pg_query(pg, &TAKE, &params, &rows);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        int64_t priority = pg_get_int(rows, row, 4), run_at_us = pg_get_int(rows, row, 5);
        turn->jobs[turn->count++] = (struct queue_job){
            .id = pg_get_int(rows, row, 0),
            .type = arena_strdup(turn->arena, pg_get_text(rows, row, 1)),
            .payload = arena_strdup(turn->arena, pg_get_text(rows, row, 2)),
            .attempts = pg_get_int(rows, row, 3),
            .trace = PQgetisnull(rows, row, 6) ? NULL : arena_strdup(turn->arena, pg_get_text(rows, row, 6))};
        last_us[priority] = run_at_us > last_us[priority] ? run_at_us : last_us[priority];
    }
    /* They come in order: what lies before the last one is taken. After a look from the beginning that may be
     * earlier than before. */
    for (int p = 0; !e && p < QUEUE_PRIORITIES; p++) {
        if (last_us[p] && (turn->full || last_us[p] > queue->from_us[p])) {
            queue->from_us[p] = last_us[p];
        }
    }
    return e;
}

static enum err run_turn(struct pg *pg, void *argument)
{
    struct turn *turn = argument;
    enum err e = tell_done(pg, turn);
    e = e ? e : tell_failed(pg, turn);
    return e || !turn->most ? e : take(pg, turn);
}

enum err queue_turn(struct queue *queue, struct pg *pg, const struct queue_end *ends, size_t ends_count,
                    struct arena *arena, size_t most, struct queue_job *ret_jobs, size_t *ret_count,
                    bool *ret_busy)
{
    int64_t now_us = clock_monotonic_us();
    struct turn turn = {.queue = queue,
                        .ends = ends,
                        .ends_count = ends_count,
                        .arena = arena,
                        .most = most > QUEUE_TAKE_MAX ? QUEUE_TAKE_MAX : most,
                        .jobs = ret_jobs,
                        .full = now_us >= queue->full_look_at_us};
    *ret_count = 0;
    *ret_busy = false;
    for (size_t i = 0; i < ends_count; i++) {
        turn.full = turn.full || ends[i].limited ||
                    ends[i].given_back; /* these leave room, or wait, before where we are */
    }
    if (!ends_count && !most) {
        return ERR_OK;
    }
    enum err e = pg_transaction(pg, run_turn, &turn);
    if (e) {
        return e;
    }
    *ret_busy = turn.busy;
    if (turn.full && most && !turn.busy) {
        queue->full_look_at_us = now_us + FULL_LOOK_EVERY_US;
    }
    *ret_count = turn.count;
    return ERR_OK;
}

static enum err forget_others(struct pg *pg, void *argument)
{
    struct queue *queue = argument;
    struct pg_params params = {0};
    pg_text(&params, queue->runner);
    pg_array_param(&params, &queue->ids);
    /* A transaction of ours that still commits, though its connection is lost, holds this. */
    enum err e = pg_query(pg, &LOCK, NULL, NULL);
    return e ? e : pg_query(pg, &FORGET_OTHERS, &params, NULL);
}

enum err queue_forget_others(struct queue *queue, struct pg *pg, const int64_t *ids, size_t count)
{
    pg_array_start(&queue->ids, PG_TYPE_INT8);
    for (size_t i = 0; i < count; i++) {
        pg_array_int(&queue->ids, ids[i]);
    }
    queue->full_look_at_us = 0;
    return pg_transaction(pg, forget_others, queue);
}

enum err queue_reap(struct queue *queue, struct pg *pg, int64_t *ret_count)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    put_types(queue, &params, offsetof(struct queue_type, attempts));
    pg_text(&params, queue->runner);
    enum err e = pg_query(pg, &REAP, &params, &rows);
    if (!e) {
        *ret_count = PQntuples(rows);
        e = pg_query(pg, &FORGET, NULL, NULL);
    }
    if (!e && clock_monotonic_us() >= queue->orphans_at_us) {
        PG_RESULT_AUTO orphans = NULL;
        queue->orphans_at_us = clock_monotonic_us() + ORPHANS_EVERY_US;
        e = pg_query(pg, &REAP_ORPHANS, NULL, &orphans);
        *ret_count += e ? 0 : PQntuples(orphans);
    }
    if (!e && *ret_count) {
        queue->full_look_at_us = 0; /* these are from before */
    }
    return e;
}

enum err queue_progress(struct pg *pg, const char *runner, int64_t job_id, int64_t done, int64_t total)
{
    struct pg_params params = {0};
    pg_text(&params, runner);
    pg_int(&params, job_id);
    pg_int(&params, done);
    pg_int(&params, total);
    return pg_query(pg, &PROGRESS, &params, NULL);
}
