/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads and what they own:
 * - The main thread waits for SIGTERM and for the master's end, and leads the drain.
 * - Each request thread owns a PostgreSQL connection (not in ingest), a Redis connection and in auth the
 *   scratch memory of bcrypt. It goes on with a request that waited, else takes a connection, else sleeps in
 *   epoll. The listener is added with EPOLLEXCLUSIVE, so that one connection wakes one thread of all workers.
 * - A request has a seat (seats.c): its FastCGI connection and its arena. In auth and api there is one for
 * each thread. In ingest there are many more, because requests wait there for a commit without a thread.
 * - The housekeeper keeps what request threads only read: signing keys and revocations. It also
 *   drops what expired.
 * - In the ingest pool the committers (analytics/ingest.c), and a thread for the upkeep of the events'
 * tables.
 *
 * Every signal stays blocked in every thread, because libfcgi does not resume an interrupted
 * read or write: the answer would be cut and nginx would take it as whole. SIGTERM arrives through
 * a signalfd, and threads that sleep are woken by an eventfd.
 *
 * Drain: no further connection is taken, what runs is finished; connections that nobody took yet
 * stay in the listener's queue for the other workers. Past drain_s the process ends regardless.
 */
#include "fcgid/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "analytics/ingest.h"
#include "analytics/upkeep.h"
#include "base/cache.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/trace.h"
#include "fcgid/dispatch.h"
#include "fcgid/routes.h"
#include "fcgid/seats.h"
#include "identity/apikey.h"
#include "identity/idempotency.h"
#include "identity/keyring.h"
#include "identity/mail.h"
#include "identity/member.h"
#include "identity/password.h"
#include "identity/ratelimit.h"
#include "identity/revocations.h"
#include "identity/session.h"
#include "identity/throttle.h"
#include "identity/token_cache.h"
#include "store/migrate.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

enum {
    THREAD_STACK_BYTES = 1024 * 1024,
    CACHE_BYTES = 16 * 1024 * 1024,
    RIGHTS_BYTES = 1024 * 1024, /* some 3,000 keys and memberships */
    HOUSEKEEPING_MS = 250,      /* a revocation is known everywhere well within a second */
    KEYS_EVERY_S = 30,
    KEYS_RETRY_S = 5,
    PRUNE_EVERY_S = 600,
    REFUSED_PAUSE_MS = 50,
    LONGEST_SLEEP_MS = 1000,
    DRAIN_SLEEP_MS = 50,
    LARGE_BODIES = 4,     /* at once in one ingest worker */
    LARGE_LINE_SHARE = 4, /* one seat in four may wait for such a place */
    EXPIRE_EVERY_MS = 100,
};

struct worker {
    const struct worker_options *options;
    struct router *router;
    struct seats *seats;
    struct pg_options pg_options;
    struct keyring *keyring;
    struct revocations *revocations;
    struct token_cache *token_cache;
    struct ratelimit *ratelimit;
    struct cache *rights; /* what keys and members may do */
    struct cache *cache;  /* NULL outside the api pool, where nothing is read twice */
    struct ingest *ingest;
    struct gate *large_bodies;
    int stop_event; /* readable once the worker stops */
    atomic_bool stopping;

    pthread_mutex_t lock; /* over running and housekept */
    pthread_cond_t changed;
    int running;    /* request threads */
    bool housekept; /* the housekeeper made its first round */
};

/* ---- request threads ---- */

static bool watch(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Sleep until a request that waits can go on, not until another comes. */
static void sleep_until_ready(const struct worker *worker, int most_ms)
{
    struct pollfd ready = {.fd = seats_event(worker->seats), .events = POLLIN};
    (void)poll(&ready, 1, most_ms);
}

/* Take a connection, or sleep. Returns `seat` unless a request has it now. */
static struct seat *take_connection(const struct worker *worker, struct services *services, struct seat *seat,
                                    int epoll)
{
    enum fcgi_accept taken = fcgi_accept(seat->dispatcher.fcgi, worker->options->listener);
    if (taken == FCGI_ACCEPTED) {
        return dispatch_start(&seat->dispatcher, services) ? seat : NULL;
    }
    if (taken == FCGI_REFUSED) {
        log_warn("no descriptor for a connection; pausing");
        struct timespec pause = {.tv_nsec = REFUSED_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    } else {
        struct epoll_event event;
        /* The thread that was woken for a connection may have ended before it took it, so nobody
         * sleeps for ever. */
        (void)epoll_wait(epoll, &event, 1, LONGEST_SLEEP_MS);
    }
    return seat;
}

/* Busy or not, those who wait for a place are told when their time is over. */
static void expire_waiters(const struct worker *worker, int64_t *expire_at_us)
{
    int64_t now_us = clock_monotonic_us();
    if (worker->large_bodies && now_us >= *expire_at_us) {
        gate_expire(worker->large_bodies);
        *expire_at_us = now_us + EXPIRE_EVERY_MS * 1000;
    }
}

static void serve_requests(const struct worker *worker, struct services *services, int epoll)
{
    struct seat *seat = NULL; /* in hand, for the next connection */
    int64_t expire_at_us = 0;
    for (;;) {
        expire_waiters(worker, &expire_at_us);
        struct seat *ready = seats_ready(worker->seats);
        if (ready) {
            if (dispatch_resume(&ready->dispatcher, services)) {
                seats_give(worker->seats, ready);
            }
        } else if (atomic_load(&worker->stopping)) {
            if (seat) {
                seats_give(worker->seats, seat);
                seat = NULL;
            }
            if (seats_all_free(worker->seats)) {
                return;
            }
            sleep_until_ready(worker, DRAIN_SLEEP_MS);
        } else if (seat || (seat = seats_take(worker->seats))) {
            seat = take_connection(worker, services, seat, epoll);
        } else {
            sleep_until_ready(worker, LONGEST_SLEEP_MS);
        }
    }
}

static void *run_requests(void *argument)
{
    struct worker *worker = argument;
    const struct worker_options *options = worker->options;
    struct services services = {
        .config = options->config,
        .metrics = options->metrics,
        .pg = pg_new(&worker->pg_options), /* connects when it is first needed */
        .redis = redis_new(options->config->redis_url, options->config->redis_timeout_ms),
        .hasher = options->pool == POOL_AUTH ? password_hasher_new() : NULL,
        .keyring = worker->keyring,
        .revocations = worker->revocations,
        .token_cache = worker->token_cache,
        .cache = worker->cache,
        .rights = worker->rights,
        .ratelimit = worker->ratelimit,
        .ingest = worker->ingest,
        .large_bodies = worker->large_bodies,
    };

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll >= 0 && watch(epoll, options->listener, EPOLLIN | EPOLLEXCLUSIVE) &&
        watch(epoll, seats_event(worker->seats), EPOLLIN | EPOLLEXCLUSIVE) &&
        watch(epoll, worker->stop_event, EPOLLIN)) {
        serve_requests(worker, &services, epoll);
    } else {
        log_error("cannot wait for connections");
    }
    if (epoll >= 0) {
        close(epoll);
    }
    pg_free(services.pg);
    redis_free(services.redis);
    password_hasher_free(services.hasher);
    log_thread_end();

    pthread_mutex_lock(&worker->lock);
    worker->running--;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* ---- the housekeeper ---- */

struct housekeeping {
    struct pg *pg;
    bool schema_fits;
    bool schema_told;
    int64_t keys_at_us;
    bool keys_loaded; /* the last time */
    int64_t prune_at_us;
};

/* Nothing is served before the schema is known to fit: without keys every route that needs the
 * database answers 503. */
static void check_schema(struct housekeeping *state)
{
    int version = 0;
    if (migrate_current(state->pg, &version) != ERR_OK) {
        return;
    }
    state->schema_fits = version >= migrate_required();
    if (!state->schema_fits && !state->schema_told) {
        log_error("the database is at schema version %d, this program needs %d: run tallygatectl migrate up",
                  version, migrate_required());
        state->schema_told = true;
    }
}

/* What drops some of what is over; *ret_more: there may be others. */
static enum err (*const PRUNES[])(struct pg *pg, bool *ret_more) = {
    session_prune, mail_prune, throttle_prune, idempotency_prune, invitation_prune, apikey_prune,
};

static void keep_house(struct worker *worker, struct housekeeping *state)
{
    int64_t now_us = clock_monotonic_us();
    if (!state->schema_fits) {
        check_schema(state);
        if (!state->schema_fits) {
            return;
        }
    }
    (void)revocations_refresh(worker->revocations, state->pg);
    if (now_us >= state->keys_at_us) {
        state->keys_loaded = keyring_load(worker->keyring, state->pg) == ERR_OK;
        int64_t retry_s = keyring_is_loaded(worker->keyring) ? KEYS_RETRY_S : 0;
        state->keys_at_us = now_us + (state->keys_loaded ? KEYS_EVERY_S : retry_s) * USEC_PER_SEC;
    }
    if (worker->options->pool == POOL_AUTH && now_us >= state->prune_at_us) {
        bool more = false;
        int64_t keys = 0;
        enum err e = session_note_cost(state->pg);
        for (size_t i = 0; !e && i < ARRAY_SIZE(PRUNES); i++) {
            bool some = false;
            e = PRUNES[i](state->pg, &some);
            more = more || some;
            (void)revocations_refresh(worker->revocations, state->pg); /* however long that took */
        }
        e = e || !state->keys_loaded ? e : keyring_prune(state->pg, &keys);
        state->prune_at_us = now_us + (more ? 0 : e ? 1 : PRUNE_EVERY_S) * USEC_PER_SEC;
    }
}

static void *run_housekeeper(void *argument)
{
    struct worker *worker = argument;
    struct housekeeping state = {.pg = pg_new(&worker->pg_options)};
    while (!atomic_load(&worker->stopping)) {
        keep_house(worker, &state);
        metrics_count_cpu();
        pthread_mutex_lock(&worker->lock);
        worker->housekept = true;
        pthread_cond_broadcast(&worker->changed);
        pthread_mutex_unlock(&worker->lock);
        struct pollfd stop = {.fd = worker->stop_event, .events = POLLIN};
        (void)poll(&stop, 1, HOUSEKEEPING_MS);
    }
    pg_free(state.pg);
    log_thread_end();
    return NULL;
}

/* ---- upkeep, in the ingest pool ---- */

/* Not the housekeeper's work, as it may take seconds, and a revocation must be known within one. The
 * housekeeper loads keys when it has found that the schema fits. */
static void *run_upkeep(void *argument)
{
    struct worker *worker = argument;
    struct pg *pg = pg_new(&worker->pg_options);
    struct upkeep upkeep = {0};
    while (!atomic_load(&worker->stopping)) {
        if (keyring_is_loaded(worker->keyring)) {
            upkeep_run(&upkeep, worker->options->config, pg);
        }
        struct pollfd stop = {.fd = worker->stop_event, .events = POLLIN};
        (void)poll(&stop, 1, HOUSEKEEPING_MS);
    }
    pg_free(pg);
    log_thread_end();
    return NULL;
}

/* ---- the main thread ---- */

/* Sleep until SIGTERM, or until the master is gone. */
static void wait_for_stop(const struct worker *worker, int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = worker->options->lifeline, .events = POLLIN}};
    for (;;) {
        int n = poll(fds, ARRAY_SIZE(fds), -1);
        if (n > 0) {
            if (fds[1].revents) {
                log_warn("the master is gone; finishing");
            }
            return;
        }
    }
}

/* Wait until no request thread runs; false when the drain time is over. */
static bool wait_for_threads(struct worker *worker)
{
    struct timespec deadline =
        clock_timespec(clock_monotonic_us() + worker->options->config->drain_s * USEC_PER_SEC);
    int result = 0;
    pthread_mutex_lock(&worker->lock);
    while (worker->running > 0 && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&worker->changed, &worker->lock, &deadline);
    }
    bool drained = worker->running == 0;
    pthread_mutex_unlock(&worker->lock);
    return drained;
}

static void wait_for_first_round(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    while (!worker->housekept) {
        pthread_cond_wait(&worker->changed, &worker->lock);
    }
    pthread_mutex_unlock(&worker->lock);
}

static void tell_ready(const struct worker_options *options)
{
    atomic_store(&metrics_seat()->ready, 1);
    ssize_t written = write(options->ready, "R", 1);
    (void)written; /* no reader: the master is gone, which the lifeline tells */
    close(options->ready);
}

static void init(struct worker *worker, const struct worker_options *options)
{
    const struct config *config = options->config;
    int64_t seats = options->pool == POOL_INGEST ? config->ingest_requests : options->threads;
    pthread_condattr_t attributes;
    *worker = (struct worker){
        .options = options,
        .router = router_new(ROUTES, ROUTES_COUNT),
        .pg_options =
            {
                .url = config->database_url,
                .application_name = "tallygate",
                .connect_timeout_s = config->database_connect_timeout_s,
                .statement_timeout_ms = config->database_timeout_ms,
            },
        .keyring = keyring_new(config, options->pool != POOL_INGEST),
        .revocations = revocations_new(options->config->database_timeout_ms),
        .cache = options->pool == POOL_API ? cache_new(CACHE_BYTES) : NULL,
        .rights = cache_new(RIGHTS_BYTES),
        .ratelimit = ratelimit_new(config),
        .stop_event = eventfd(0, EFD_CLOEXEC),
    };
    worker->seats = seats_new((size_t)seats, worker->router, options->pool, config->client_timeout_s);
    worker->token_cache = token_cache_new(worker->keyring, options->metrics);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->changed, &attributes);
    pthread_condattr_destroy(&attributes);
}

static bool start_thread(pthread_t *ret_thread, void *(*run)(void *), struct worker *worker)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    int result = pthread_create(ret_thread, &attributes, run, worker);
    pthread_attr_destroy(&attributes);
    return result == 0;
}

static _Noreturn void end_process(int code)
{
    log_gather_stop();
#ifdef __SANITIZE_ADDRESS__
    __lsan_do_leak_check();
#endif
    _exit(code);
}

/* Passwords are hashed when nobody else needs the processor, so a flood of logins slows down logins. Where
 * the kernel shares it out by session first (CONFIG_SCHED_AUTOGROUP), the session gives way too. What cannot
 * be done is left as it is: under systemd the unit's CPUWeight does the same. */
static void give_way(int64_t nice)
{
    char text[8];
    (void)setpriority(PRIO_PROCESS, 0, (int)nice);
    int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        int length = snprintf(text, sizeof(text), "%d", (int)nice);
        ssize_t written = write(fd, text, (size_t)length);
        (void)written;
        close(fd);
    }
}

_Noreturn void worker_run(const struct worker_options *options)
{
    struct worker worker;
    pthread_t housekeeper, upkeep;
    sigset_t term;
    uint64_t one = 1;

    if (options->pool == POOL_AUTH) {
        long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
        int64_t hashes = options->config->auth_hashes;
        give_way(options->config->auth_nice);
        password_limit(hashes ? hashes : half > 1 ? half : 1);
    }

    metrics_sit_down(options->metrics);
    init(&worker, options);
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    int signals = signalfd(-1, &term, SFD_CLOEXEC);
    pthread_t *threads = mem_zalloc((size_t)options->threads, sizeof(*threads));
    if (signals < 0 || worker.stop_event < 0 || !worker.seats || !fcgi_library_init() ||
        !log_gather_start() || !trace_start() || !start_thread(&housekeeper, run_housekeeper, &worker)) {
        log_error("the worker cannot start");
        _exit(1);
    }
    wait_for_first_round(&worker);
    if (options->pool == POOL_INGEST) {
        worker.large_bodies =
            gate_new(LARGE_BODIES, (size_t)options->config->ingest_requests / LARGE_LINE_SHARE);
        worker.ingest = ingest_start(options->config, options->metrics);
        if (!worker.ingest || !start_thread(&upkeep, run_upkeep, &worker)) {
            log_error("the committer cannot start");
            _exit(1);
        }
    }
    worker.running = options->threads;
    for (int i = 0; i < options->threads; i++) {
        if (!start_thread(&threads[i], run_requests, &worker)) {
            log_error("request thread %d of %d cannot start", i + 1, options->threads);
            _exit(1);
        }
    }
    tell_ready(options);
    wait_for_stop(&worker, signals);

    atomic_store(&metrics_seat()->ready, 0);
    atomic_store(&worker.stopping, true);
    ssize_t written = write(worker.stop_event, &one, sizeof(one));
    (void)written;
    if (!wait_for_threads(&worker)) {
        log_warn("requests still run after drain_s; ending them");
        log_gather_stop();
        _exit(1);
    }
    for (int i = 0; i < options->threads; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(housekeeper, NULL);
    if (options->pool == POOL_INGEST) {
        pthread_join(upkeep, NULL);
    }
    ingest_stop(worker.ingest);
    trace_stop();
    metrics_count_cpu();
    seats_free(worker.seats);
    gate_free(worker.large_bodies);
    token_cache_free(worker.token_cache);
    cache_free(worker.cache);
    cache_free(worker.rights);
    ratelimit_free(worker.ratelimit);
    keyring_free(worker.keyring);
    revocations_free(worker.revocations);
    router_free(worker.router);
    free(threads);
    pthread_cond_destroy(&worker.changed);
    pthread_mutex_destroy(&worker.lock);
    end_process(0);
}
