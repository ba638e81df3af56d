/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs jobs of the queue in some threads of this process.
 *
 * The caller's thread leads: it tells the database what became of jobs and takes new ones, many at a time
 * (queue.h). How many it takes ahead follows from how many ended in its last turn, so that quick jobs keep
 * all threads busy and long ones are left to other processes; what nevertheless waits here for
 * QUEUED_LIMIT_MS is given back. A further thread says every few seconds that the process lives.
 *
 * A handler gets a connection of its thread, a soft limit after which it should stop, and is believed to be
 * at work until its hard limit: then the process ends itself, as there is no other way to end a thread, and
 * the job counts as failed.
 */
#ifndef TALLYGATE_WORK_RUNNER_H
#define TALLYGATE_WORK_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "store/pg.h"
#include "work/types.h"

enum { JOB_ERROR_SIZE = 300 };

/* A job at work, for its handler. */
struct job {
    int64_t id;
    const char *payload; /* JSON */
    int64_t attempts;    /* with this one */
    const struct config *config;
    struct pg *pg;              /* the thread's */
    struct arena *arena;        /* emptied afterwards */
    char error[JOB_ERROR_SIZE]; /* what went wrong, when the handler does not return ERR_OK; may stay empty */
    struct runner *runner;
    int64_t soft_us; /* monotonic */
    int64_t told_us;
};

/* Anything but ERR_OK is a failure, and another attempt follows. */
typedef enum err job_handler(struct job *job);

enum job_outcome { JOB_DONE, JOB_RETRIED, JOB_DEAD };

struct runner_options {
    const struct config *config;
    const struct pg_options *pg_options;
    const struct work_limits *types;
    job_handler *const *handlers; /* of each type */
    size_t types_count;
    int threads;
    int stop_event; /* readable: end */
    int64_t drain_s;
    /* Called by the leading thread, several times a second, also while the database is away. */
    void (*alive)(void *argument);
    /* Called by the leading thread, about every second, with its connection. */
    void (*tick)(struct pg *pg, void *argument);
    /* What became of a job; by the leading thread. */
    void (*count)(size_t type, enum job_outcome outcome, int64_t duration_us, void *argument);
    void *argument;
};

/* Whether the handler should end: its soft limit is over, or the process ends. */
bool job_should_stop(const struct job *job);
/* Note how far it is, now and then; `total` 0: nobody knows. */
void job_progress(struct job *job, int64_t done, int64_t total);

/* Run jobs until `stop_event`, and finish those that run, for drain_s at most; then the process ends, with
 * status 1. */
void runner_run(const struct runner_options *options);

#endif
