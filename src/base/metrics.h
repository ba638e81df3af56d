/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that all processes of a pool share, and that tallygatectl metrics reads. It is a file beside the
 * pool's socket (POOL.metrics), which the master maps before it forks; the descriptor survives the master's
 * exec on reload, and a master that is started anew finds the file again, so counts go on over dead workers,
 * dead masters and new binaries. Every field is an atomic; counting takes no lock.
 *
 * What only grows is counted for the pool. What goes up and down is kept by worker, in a seat that it takes
 * at its start and its master clears when it has died: what a dead worker held is forgotten with it.
 *
 * Labels are bounded: a request is counted under its row in the route table, or under "none", and under one
 * of the statuses that we send, or "other". The names of the rows lie in the memory itself, so that a reader
 * needs no table of its own.
 */
#ifndef TALLYGATE_BASE_METRICS_H
#define TALLYGATE_BASE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    METRICS_ROUTES = 128, /* the first one is "none" */
    METRICS_NAME_SIZE = 80,
    METRICS_STATUSES = 32, /* the first one is "other" */
    METRICS_BUCKETS = 13,  /* the last one has no bound */
    METRICS_SEATS = 128,   /* workers at once, also those that drain */
};

/* Upper bounds of the buckets: of times in microseconds, of sizes as they are. */
extern const int64_t METRICS_TIMES_US[METRICS_BUCKETS - 1];
extern const int64_t METRICS_SIZES[METRICS_BUCKETS - 1];
/* The statuses that are counted by themselves, the first one 0 for any other. 0 ends the list. */
extern const int METRICS_STATUS[METRICS_STATUSES];

struct metrics_histogram {
    _Atomic uint64_t buckets[METRICS_BUCKETS]; /* each counts what is in no earlier one */
    _Atomic uint64_t sum;
};

enum metrics_login {
    METRICS_LOGIN_OPENED,
    METRICS_LOGIN_CODE,
    METRICS_LOGIN_REFUSED,
    METRICS_LOGIN_DELAYED,
    METRICS_LOGINS
};

enum metrics_delivery {
    METRICS_DELIVERY_DONE,
    METRICS_DELIVERY_AGAIN,  /* failed, and another attempt follows */
    METRICS_DELIVERY_FAILED, /* given up */
    METRICS_DELIVERIES
};

struct metrics_seat {
    _Atomic int64_t pid; /* 0: free */
    _Atomic int64_t ready;
    _Atomic int64_t requests; /* under way */
    _Atomic int64_t queued;   /* events that wait for a commit */
};

struct metrics {
    uint64_t layout;            /* a binary with another layout, or other routes, makes new memory */
    _Atomic int64_t started_us; /* when the pool's master was started, Unix µs; a reload is no start */
    _Atomic uint64_t workers_replaced; /* workers that died and were started again */
    _Atomic uint64_t events_recorded;  /* events acknowledged as recorded */
    _Atomic uint64_t events_duplicate; /* events answered as duplicates */
    _Atomic uint64_t ingest_batches;   /* transactions that the committers made */
    _Atomic uint64_t token_cache_hits; /* tokens that were known from an earlier request */
    _Atomic uint64_t token_cache_misses;
    _Atomic uint64_t answer_cache_hits_process; /* answers that the worker had kept */
    _Atomic uint64_t answer_cache_hits_redis;   /* answers that another one had kept */
    _Atomic uint64_t answer_cache_misses;       /* answers that had to be made */
    _Atomic uint64_t rate_limited;              /* requests that were too many */
    _Atomic uint64_t logins[METRICS_LOGINS];
    _Atomic uint64_t deliveries[METRICS_DELIVERIES]; /* attempts at webhooks */
    _Atomic uint64_t domain_events;                  /* events that were carried on */
    _Atomic uint64_t cpu_us;                         /* processor time of its processes */
    _Atomic uint64_t trace_spans_sent;
    _Atomic uint64_t trace_spans_dropped;
    _Atomic uint64_t database_connects;    /* connections that were made to PostgreSQL */
    _Atomic uint64_t database_failures;    /* statements that it did not answer, or gave up */
    struct metrics_histogram database_us;  /* how long a thread waited for a statement */
    struct metrics_histogram batch_events; /* events in a transaction */
    struct metrics_histogram commit_us;    /* how long one takes */
    struct metrics_histogram delivery_us;  /* how long an attempt at a webhook takes */
    struct metrics_seat seats[METRICS_SEATS];
    char routes[METRICS_ROUTES][METRICS_NAME_SIZE]; /* "METHOD pattern"; "" for no more */
    struct metrics_histogram requests_us[METRICS_ROUTES][METRICS_STATUSES];
};

/* Map the memory behind `fd`, or when fd is -1 or does not fit the file `path` (which is made when it is
 * missing or does not fit; NULL: memory without a name). `names` are the rows of the route table. Returns
 * NULL with errno set when the kernel refuses. *ret_fd is inherited over exec. */
struct metrics *metrics_map(int fd, const char *path, const char *const *names, size_t count, int *ret_fd);
/* Map such a file to read it; NULL when there is none that fits. */
const struct metrics *metrics_open(const char *path);
void metrics_close(const struct metrics *metrics);

/* Take a seat for this process; the gauges below are its own from then on. */
void metrics_sit_down(struct metrics *metrics);
/* What this process counts in; NULL before metrics_sit_down(), and in programs that count nothing. */
struct metrics *metrics_own(void);
/* The seat of this process: that of nobody before metrics_sit_down(). */
struct metrics_seat *metrics_seat(void);
/* Count the processor time that this process has used since the last call, or since it sat down. By one
 * thread, now and then. */
void metrics_count_cpu(void);
/* Clear the seat of a process that is dead; 0: of all that are. */
void metrics_clear_seat(struct metrics *metrics, pid_t pid);

void metrics_add(struct metrics_histogram *histogram, const int64_t bounds[METRICS_BUCKETS - 1],
                 int64_t value);
/* Count an answer. `route` is the place of its row among `names`, or -1. */
void metrics_count_request(struct metrics *metrics, ptrdiff_t route, int status, int64_t duration_us);

#endif
