/* SPDX-License-Identifier: Apache-2.0 */
#include "work/runner.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"

enum {
    HAND_MAX = 2 * QUEUE_TAKE_MAX, /* jobs in hand */
    IDLE_MS = 100,                 /* between looks while nothing is due */
    TICK_MS = 1000,
    REAP_EVERY_MS = 2000,
    LIVE_EVERY_MS = 3000,
    QUEUED_LIMIT_MS = 2000,
    PROGRESS_EVERY_MS = 1000,
    TAKE_BEFORE_US = 2000000, /* the end of its life a process takes no more */
    BUSY_MS = 10,             /* while somebody else takes */
    LEAD_LIMIT_MS = 5000,     /* of a statement of the one who leads */
    HEART_LIMIT_MS = 2500,    /* and of the sign of life */
    RETRY_MS = 250,           /* with a database that is away */
};

enum place { FREE, QUEUED, RUNNING, ENDED };

struct hand {
    enum place place;
    struct queue_job job;
    size_t type;
    struct arena arena; /* of the job's texts */
    int64_t since_us;   /* that it is in this place */
    int64_t took_us;
    bool traced;
    struct trace_place trace;
    enum err result;
    char error[JOB_ERROR_SIZE];
};

struct runner {
    const struct runner_options *options;
    struct queue *queue;
    char id[UUID_TEXT_SIZE];
    struct pg_options lead_options,
        heart_options; /* these wait shortly, whatever a job's statements may take */
    atomic_bool stopping;
    atomic_bool ended; /* all jobs have */
    _Atomic int64_t
        lives_until_us; /* monotonic, by the database's word: others take what it holds after that */

    pthread_mutex_t lock;
    pthread_cond_t queued; /* for those who run */
    pthread_cond_t ends;   /* for the one who leads */
    struct hand hands[HAND_MAX];
    size_t in_hand;
    size_t first, count; /* of the line of those that are queued */
    size_t line[HAND_MAX];
    size_t ended_count;
    int running_threads;
};

/* ---- handlers ---- */

bool job_should_stop(const struct job *job)
{
    int64_t now_us = clock_monotonic_us();
    return atomic_load(&job->runner->stopping) || now_us >= job->soft_us ||
           now_us >= atomic_load(&job->runner->lives_until_us); /* somebody else may do it now */
}

void job_progress(struct job *job, int64_t done, int64_t total)
{
    int64_t now_us = clock_monotonic_us();
    if (now_us - job->told_us >= PROGRESS_EVERY_MS * 1000) {
        job->told_us = now_us;
        (void)queue_progress(job->pg, job->runner->id, job->id, done, total);
    }
}

/* What this thread says and measures is of this job's trace; with NULL of none any more. */
static void turn_to(const struct hand *hand)
{
    static _Thread_local struct log_request line;
    bool traced = hand && hand->traced;
    line.trace_id = traced ? hand->trace.trace_id : NULL;
    log_set_request(traced ? &line : NULL);
    trace_set_current(traced ? &hand->trace : NULL);
}

static void run_one(struct runner *runner, struct hand *hand, struct pg *pg, struct arena *arena)
{
    const struct work_limits *type = &runner->options->types[hand->type];
    int64_t began_us = clock_monotonic_us();
    struct job job = {.id = hand->job.id,
                      .payload = hand->job.payload,
                      .attempts = hand->job.attempts,
                      .config = runner->options->config,
                      .pg = pg,
                      .arena = arena,
                      .runner = runner,
                      .soft_us = began_us + type->soft_limit_s * USEC_PER_SEC,
                      .told_us = began_us};
    hand->traced = hand->job.trace || trace_is_on();
    if (hand->traced) {
        trace_place_new(hand->job.trace, &hand->trace);
    }
    turn_to(hand);
    hand->result = runner->options->handlers[hand->type](&job);
    hand->took_us = clock_monotonic_us() - began_us;
    const struct trace_job traced = {.type = type->queue.name,
                                     .id = job.id,
                                     .attempts = job.attempts,
                                     .began_us = began_us,
                                     .failed = hand->result != ERR_OK};
    trace_end_job(&traced);
    turn_to(NULL);
    if (hand->result) {
        snprintf(hand->error, sizeof(hand->error), "%s",
                 *job.error ? job.error : err_info(hand->result)->title);
    }
    arena_reset(arena);
}

static void *run_jobs(void *argument)
{
    struct runner *runner = argument;
    struct pg *pg = pg_new(runner->options->pg_options);
    struct arena arena = {0};
    pthread_mutex_lock(&runner->lock);
    for (;;) {
        while (!runner->count && !atomic_load(&runner->ended)) {
            pthread_cond_wait(&runner->queued, &runner->lock);
        }
        if (!runner->count) {
            break;
        }
        struct hand *hand = &runner->hands[runner->line[runner->first]];
        runner->first = (runner->first + 1) % HAND_MAX;
        runner->count--;
        hand->place = RUNNING;
        hand->since_us = clock_monotonic_us();
        pthread_mutex_unlock(&runner->lock);
        run_one(runner, hand, pg, &arena);
        pthread_mutex_lock(&runner->lock);
        hand->place = ENDED;
        runner->ended_count++;
        pthread_cond_signal(&runner->ends);
    }
    runner->running_threads--;
    pthread_mutex_unlock(&runner->lock);
    pg_free(pg);
    arena_free(&arena);
    log_thread_end();
    return NULL;
}

/* ---- the sign of life ---- */

static void *run_heart(void *argument)
{
    struct runner *runner = argument;
    struct pg *pg = pg_new(&runner->heart_options);
    while (!atomic_load(&runner->ended)) {
        int64_t now_us = clock_monotonic_us();
        enum err e = queue_live(runner->id, pg, runner->options->threads);
        if (!e) {
            atomic_store(&runner->lives_until_us, now_us + QUEUE_LEASE_S * USEC_PER_SEC);
        }
        int64_t until_us = clock_monotonic_us() + (e == ERR_UNAVAILABLE ? RETRY_MS : LIVE_EVERY_MS) * 1000;
        while (!atomic_load(&runner->ended) && clock_monotonic_us() < until_us) {
            struct timespec pause = {.tv_nsec = 50 * 1000000L};
            nanosleep(&pause, NULL);
        }
    }
    (void)queue_leave(runner->id, pg);
    pg_free(pg);
    log_thread_end();
    return NULL;
}

/* ---- the one who leads; the lock is held where nothing else is said ---- */

struct leading {
    struct pg *pg;
    struct queue_end ends[HAND_MAX];
    size_t hands[HAND_MAX]; /* whose ends these are */
    size_t ends_count;
    struct queue_job jobs[QUEUE_TAKE_MAX];
    struct arena arena;
    size_t ended_lately; /* in the last turn */
    bool unsure;         /* a turn may or may not have taken effect */
    uint64_t generation; /* of the connection: another one may be to another server, which lacks our last
                            commits */
    int64_t look_at_us;
    int64_t tick_at_us;
    int64_t reap_at_us;
};

static int64_t backoff_ms(const struct work_limits *type, int64_t attempts)
{
    uint32_t random;
    int64_t wait_ms = type->backoff_s * 1000;
    for (int64_t i = 1; i < attempts && wait_ms < type->backoff_max_s * 1000; i++) {
        wait_ms *= 2;
    }
    wait_ms = wait_ms < type->backoff_max_s * 1000 ? wait_ms : type->backoff_max_s * 1000;
    crypto_random(&random, sizeof(random));
    return wait_ms * 3 / 4 + (int64_t)(random % (uint32_t)(wait_ms / 2 + 1)) + 1;
}

static void note_end(struct runner *runner, struct leading *leading, size_t place)
{
    const struct hand *hand = &runner->hands[place];
    const struct work_limits *type = &runner->options->types[hand->type];
    struct queue_end *end = &leading->ends[leading->ends_count];
    leading->hands[leading->ends_count++] = place;
    *end = (struct queue_end){.id = hand->job.id,
                              .attempts = hand->job.attempts,
                              .limited = type->queue.concurrency < QUEUE_NO_LIMIT};
    if (hand->place == QUEUED) {
        end->given_back = true;
    } else if (hand->result) {
        end->error = hand->error;
        end->delay_ms =
            hand->job.attempts >= type->queue.attempts ? -1 : backoff_ms(type, hand->job.attempts);
    }
}

/* What waits here for others that take long is given back. */
static void give_back(struct runner *runner, struct leading *leading, int64_t older_than_us)
{
    while (runner->count && leading->ends_count < HAND_MAX) {
        size_t place = runner->line[runner->first];
        if (runner->hands[place].since_us > older_than_us) {
            return;
        }
        runner->first = (runner->first + 1) % HAND_MAX;
        runner->count--;
        note_end(runner, leading, place);
    }
}

static void collect(struct runner *runner, struct leading *leading)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; runner->ended_count && i < HAND_MAX; i++) {
        if (runner->hands[i].place == ENDED && leading->ends_count < HAND_MAX) {
            note_end(runner, leading, i);
            runner->hands[i].place = FREE; /* but it is in hand until it was told */
            runner->ended_count--;
        }
    }
    give_back(runner, leading, atomic_load(&runner->stopping) ? INT64_MAX : now_us - QUEUED_LIMIT_MS * 1000);
}

/* Until now these were in hand. */
static void let_go(struct runner *runner, struct leading *leading)
{
    size_t ended = 0;
    for (size_t i = 0; i < leading->ends_count; i++) {
        struct hand *hand = &runner->hands[leading->hands[i]];
        const struct queue_end *end = &leading->ends[i];
        if (!end->given_back) {
            ended++;
            enum job_outcome outcome = !end->error ? JOB_DONE : end->delay_ms < 0 ? JOB_DEAD : JOB_RETRIED;
            if (end->error) {
                turn_to(hand);
                log_warn("job %lld (%s) failed at attempt %lld%s: %s", (long long)end->id, hand->job.type,
                         (long long)hand->job.attempts, outcome == JOB_DEAD ? ", its last" : "", end->error);
                turn_to(NULL);
            }
            runner->options->count(hand->type, outcome, hand->took_us, runner->options->argument);
        }
        arena_reset(&hand->arena);
        hand->place = FREE;
        hand->job.id = 0;
        runner->in_hand--;
    }
    leading->ended_lately = ended;
    leading->ends_count = 0;
}

static size_t find_type(const struct runner *runner, const char *name)
{
    size_t i = 0;
    while (i < runner->options->types_count && strcmp(runner->options->types[i].queue.name, name) != 0) {
        i++;
    }
    return i;
}

static void take_in(struct runner *runner, struct leading *leading, size_t count)
{
    size_t place = 0;
    for (size_t i = 0; i < count; i++) {
        while (runner->hands[place].job.id) {
            place++;
        }
        struct hand *hand = &runner->hands[place];
        const struct queue_job *job = &leading->jobs[i];
        hand->job = (struct queue_job){.id = job->id,
                                       .type = arena_strdup(&hand->arena, job->type),
                                       .payload = arena_strdup(&hand->arena, job->payload),
                                       .attempts = job->attempts,
                                       .trace = job->trace ? arena_strdup(&hand->arena, job->trace) : NULL};
        hand->type = find_type(runner, job->type);
        hand->place = QUEUED;
        hand->since_us = clock_monotonic_us();
        *hand->error = '\0';
        hand->result = ERR_OK;
        runner->line[(runner->first + runner->count++) % HAND_MAX] = place;
        runner->in_hand++;
    }
    if (count == 1) {
        pthread_cond_signal(&runner->queued);
    } else if (count) {
        pthread_cond_broadcast(&runner->queued);
    }
}

/* How many more to take. */
static size_t room(const struct runner *runner, const struct leading *leading)
{
    size_t wanted = 2 * leading->ended_lately;
    size_t threads = (size_t)runner->options->threads;
    size_t holds = runner->in_hand - leading->ends_count; /* those go in the same turn */
    wanted = wanted < threads ? threads : wanted > QUEUE_TAKE_MAX ? QUEUE_TAKE_MAX : wanted;
    bool lives = atomic_load(&runner->lives_until_us) > clock_monotonic_us() + TAKE_BEFORE_US;
    return atomic_load(&runner->stopping) || !lives || holds >= wanted ? 0 : wanted - holds;
}

/* Before the process ends in a hurry, with the lock: what ended is told, and what it held is free. */
static void say_last_words(struct runner *runner, struct leading *leading)
{
    size_t none;
    bool busy;
    collect(runner, leading);
    (void)queue_turn(runner->queue, leading->pg, leading->ends, leading->ends_count, &leading->arena, 0,
                     leading->jobs, &none, &busy);
    (void)queue_leave(runner->id, leading->pg);
}

/* A handler that does not end cannot be ended alone. Its job is told to have failed, and the process goes. */
static void check_limits(struct runner *runner, struct leading *leading)
{
    int64_t now_us = clock_monotonic_us();
    for (size_t i = 0; i < HAND_MAX; i++) {
        struct hand *hand = &runner->hands[i];
        if (hand->place != RUNNING) {
            continue;
        }
        const struct work_limits *type = &runner->options->types[hand->type];
        if (now_us - hand->since_us > type->hard_limit_s * USEC_PER_SEC) {
            log_error(
                "job %lld (%s) takes longer than its limit of %lld s; this process ends and starts anew",
                (long long)hand->job.id, hand->job.type, (long long)type->hard_limit_s);
            if (leading->ends_count < HAND_MAX) {
                hand->result = ERR_INTERNAL;
                snprintf(hand->error, sizeof(hand->error), "took longer than its limit");
                note_end(runner, leading, i);
            }
            say_last_words(runner, leading);
            _exit(1);
        }
    }
}

/* After a lost connection we may hold what we do not know of. */
static enum err make_sure(struct runner *runner, struct leading *leading)
{
    int64_t ids[HAND_MAX];
    size_t count = 0;
    for (size_t i = 0; i < HAND_MAX; i++) {
        if (runner->hands[i].job.id) {
            ids[count++] = runner->hands[i].job.id;
        }
    }
    pthread_mutex_unlock(&runner->lock);
    enum err e = queue_forget_others(runner->queue, leading->pg, ids, count);
    pthread_mutex_lock(&runner->lock);
    leading->unsure = e != ERR_OK;
    return e;
}

static bool turn(struct runner *runner, struct leading *leading)
{
    size_t taken = 0;
    bool busy = false;
    pthread_mutex_unlock(&runner->lock); /* it may have to connect */
    bool ready = pg_ready(leading->pg) == ERR_OK;
    pthread_mutex_lock(&runner->lock);
    if (ready && pg_generation(leading->pg) != leading->generation) {
        leading->generation = pg_generation(leading->pg);
        leading->unsure = true;
    }
    if (leading->unsure && make_sure(runner, leading) != ERR_OK) {
        return false;
    }
    collect(runner, leading);
    size_t most =
        clock_monotonic_us() >= leading->look_at_us || leading->ends_count ? room(runner, leading) : 0;
    if (!most && !leading->ends_count) {
        return true;
    }
    pthread_mutex_unlock(&runner->lock);
    enum err e = queue_turn(runner->queue, leading->pg, leading->ends, leading->ends_count, &leading->arena,
                            most, leading->jobs, &taken, &busy);
    pthread_mutex_lock(&runner->lock);
    if (e) {
        leading->unsure = true;
        return false;
    }
    let_go(runner, leading);
    take_in(runner, leading, taken);
    arena_reset(&leading->arena);
    if (most) {
        leading->look_at_us = taken ? 0 : clock_monotonic_us() + (busy ? BUSY_MS : IDLE_MS) * 1000;
    }
    return true;
}

/* Without the lock. */
static void do_now_and_then(struct runner *runner, struct leading *leading)
{
    int64_t now_us = clock_monotonic_us(), lost = 0;
    if (now_us >= leading->reap_at_us) {
        leading->reap_at_us = now_us + REAP_EVERY_MS * 1000;
        if (queue_reap(runner->queue, leading->pg, &lost) == ERR_OK && lost) {
            log_warn("%lld jobs of processes that are gone wait again", (long long)lost);
        }
    }
    if (now_us >= leading->tick_at_us) {
        leading->tick_at_us = now_us + TICK_MS * 1000;
        runner->options->tick(leading->pg, runner->options->argument);
    }
}

static bool is_stopped(const struct runner *runner)
{
    struct pollfd stop = {.fd = runner->options->stop_event, .events = POLLIN};
    return poll(&stop, 1, 0) > 0;
}

static void wait_for_ends(struct runner *runner, const struct leading *leading, bool failed)
{
    bool busy = !failed && !leading->look_at_us && room(runner, leading);
    int64_t now_us = clock_monotonic_us(), most_us = now_us + (failed ? RETRY_MS : IDLE_MS) * 1000;
    bool sooner = !failed && leading->look_at_us > now_us && leading->look_at_us < most_us;
    struct timespec until = clock_timespec(sooner ? leading->look_at_us : most_us);
    if (!busy && !(runner->ended_count && !failed)) {
        pthread_cond_timedwait(&runner->ends, &runner->lock, &until);
    }
}

static void lead(struct runner *runner)
{
    struct leading *leading = mem_zalloc(1, sizeof(*leading));
    int64_t drained_by_us = INT64_MAX;
    leading->pg = pg_new(&runner->lead_options);
    pthread_mutex_lock(&runner->lock);
    while (!atomic_load(&runner->stopping) || runner->in_hand) {
        runner->options->alive(runner->options->argument);
        bool well = turn(runner, leading);
        check_limits(runner, leading);
        pthread_mutex_unlock(&runner->lock);
        if (well && !atomic_load(&runner->stopping)) {
            do_now_and_then(runner, leading);
        }
        if (!atomic_load(&runner->stopping) && is_stopped(runner)) {
            atomic_store(&runner->stopping, true);
            drained_by_us = clock_monotonic_us() + runner->options->drain_s * USEC_PER_SEC;
        }
        pthread_mutex_lock(&runner->lock);
        if (clock_monotonic_us() >= drained_by_us) {
            break;
        }
        wait_for_ends(runner, leading, !well);
    }
    bool all = runner->in_hand == 0;
    if (!all) {
        log_warn("jobs still run after drain_s; ending them, and they run again elsewhere");
        say_last_words(runner, leading);
        _exit(1);
    }
    pthread_mutex_unlock(&runner->lock);
    pg_free(leading->pg);
    arena_free(&leading->arena);
    free(leading);
}

static void init(struct runner *runner, const struct runner_options *options, struct queue_type *types)
{
    pthread_condattr_t attributes;
    for (size_t i = 0; i < options->types_count; i++) {
        types[i] = options->types[i].queue;
    }
    runner->options = options;
    runner->lead_options = runner->heart_options = *options->pg_options;
    runner->lead_options.statement_timeout_ms = LEAD_LIMIT_MS;
    runner->lead_options.plan_anew = true;
    runner->heart_options.statement_timeout_ms = HEART_LIMIT_MS;
    runner->queue = queue_new(types, options->types_count);
    snprintf(runner->id, sizeof(runner->id), "%s", queue_runner(runner->queue));
    pthread_mutex_init(&runner->lock, NULL);
    pthread_cond_init(&runner->queued, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&runner->ends, &attributes);
    pthread_condattr_destroy(&attributes);
}

void runner_run(const struct runner_options *options)
{
    struct runner *runner = mem_zalloc(1, sizeof(*runner));
    struct queue_type *types = mem_zalloc(options->types_count, sizeof(*types));
    pthread_t *threads = mem_zalloc((size_t)options->threads, sizeof(*threads));
    pthread_t heart;
    init(runner, options, types);
    bool started = pthread_create(&heart, NULL, run_heart, runner) == 0;
    for (int i = 0; started && i < options->threads; i++) {
        started = pthread_create(&threads[i], NULL, run_jobs, runner) == 0;
        runner->running_threads++;
    }
    if (!started) {
        log_error("threads cannot be started");
        _exit(1);
    }
    lead(runner);
    pthread_mutex_lock(&runner->lock);
    atomic_store(&runner->ended, true);
    pthread_cond_broadcast(&runner->queued);
    pthread_mutex_unlock(&runner->lock);
    for (int i = 0; i < options->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(heart, NULL);
    for (size_t i = 0; i < HAND_MAX; i++) {
        arena_free(&runner->hands[i].arena);
    }
    queue_free(runner->queue);
    pthread_mutex_destroy(&runner->lock);
    pthread_cond_destroy(&runner->queued);
    pthread_cond_destroy(&runner->ends);
    free(types);
    free(threads);
    free(runner);
}
