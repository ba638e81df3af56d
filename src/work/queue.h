/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of background work, in PostgreSQL. A job is put in within the transaction of its cause, and runs
 * at least once: whoever takes it holds it for as long as it says that it lives (job_runners), and what a
 * lost process held is given to another. So handlers must bear to run twice.
 *
 * Jobs are taken and ended many at a time, each time in one short transaction; a commit a job would be a
 * thousand a second at the most. The table holds what is not done (sql/migrations/0011_jobs.up.sql). While
 * somebody's old snapshot keeps what was deleted, the index begins with dead entries: so a taker remembers
 * how far it was, begins there, and looks from the beginning only once a second, for those that came late.
 */
#ifndef TALLYGATE_WORK_QUEUE_H
#define TALLYGATE_WORK_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "store/pg.h"
#include "store/pg_array.h"

enum { QUEUE_PRIORITIES = 3, QUEUE_NO_LIMIT = 1000000, QUEUE_TAKE_MAX = 1000 };

/* What is put in. */
struct queue_order {
    const char *type;
    const char *payload;    /* JSON; NULL: {} */
    int priority;           /* 0 to 2; 0 comes first */
    int64_t delay_s;        /* not before */
    const char *unique_key; /* NULL: any number; else it is not put in while one of its type with this key
                               waits or runs */
};

/* Put one in, in the caller's transaction; it belongs to the trace that is current. *ret_id is 0 when its key
 * was taken; NULL: nobody wants to know.
 */
enum err queue_put(struct pg *pg, const struct queue_order *order, int64_t *ret_id);

/* What a runner knows of a type. */
struct queue_type {
    const char *name;
    int64_t concurrency; /* how many may run at once, everywhere; QUEUE_NO_LIMIT */
    int64_t attempts;    /* then it is dead */
};

/* One that was taken; texts live in the arena that it was taken into. */
struct queue_job {
    int64_t id;
    const char *type;
    const char *payload; /* JSON */
    int64_t attempts;    /* with this one */
    const char *trace;   /* the traceparent of who put it in; NULL: nobody's */
};

struct queue_end {
    int64_t id;
    int64_t attempts;  /* as it was taken: a later attempt, of somebody else's, is another matter */
    const char *error; /* NULL: it is done; or given back, see below */
    int64_t delay_ms;  /* before the next attempt; below 0: there is none */
    bool given_back;   /* it never began: the attempt does not count */
    bool limited;      /* its type may only run so often at once */
};

/* One for a process; one thread uses it. */
struct queue;
struct queue *queue_new(const struct queue_type *types, size_t count);
void queue_free(struct queue *queue);
/* Its id, by which it holds jobs. */
const char *queue_runner(const struct queue *queue);

/* Say that this process lives, for QUEUE_LEASE_S more seconds. By another thread, with a connection of its
 * own. */
enum { QUEUE_LEASE_S = 10 };
enum err queue_live(const char *runner, struct pg *pg, int threads);
/* It ends: what it holds may be taken at once. */
enum err queue_leave(const char *runner, struct pg *pg);

/* In one transaction: tell what became of `ends`, and take up to `most` jobs that are due into `arena`;
 * ret_jobs has room for these. */
enum err queue_turn(struct queue *queue, struct pg *pg, const struct queue_end *ends, size_t ends_count,
                    struct arena *arena, size_t most, struct queue_job *ret_jobs, size_t *ret_count,
                    bool *ret_busy);
/* Give back all that this process holds by the database's word but for `ids`: what it may have taken when a
 * connection was lost in a commit. */
enum err queue_forget_others(struct queue *queue, struct pg *pg, const int64_t *ids, size_t count);
/* Give what lost processes held to others. *ret_count: how many. */
enum err queue_reap(struct queue *queue, struct pg *pg, int64_t *ret_count);
/* Note how far a job is; `total` 0: nobody knows. */
enum err queue_progress(struct pg *pg, const char *runner, int64_t job_id, int64_t done, int64_t total);

#endif
