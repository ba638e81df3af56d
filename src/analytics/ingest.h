/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recording: many requests, one commit. See ingest.c for the design.
 */
#ifndef TALLYGATE_ANALYTICS_INGEST_H
#define TALLYGATE_ANALYTICS_INGEST_H

#include <stddef.h>
#include <stdint.h>

#include "analytics/event.h"
#include "base/config.h"
#include "base/err.h"
#include "base/metrics.h"

struct ingest;

/* The events of one request on their way. The first four are the caller's to fill in. */
struct ingest_ticket {
    int64_t workspace_id;
    struct event *events; /* with their fates, in the end */
    size_t count;
    void (*done)(void *argument); /* called once, by any thread; then the ticket is the caller's again */
    void *argument;

    /* ERR_UNAVAILABLE: the queue was full, or the database did not take them within the wait limit. Then
     * nothing is promised, and sending them again with the same ids is safe. */
    enum err result;

    struct ingest_ticket *next;
    int64_t queued_us; /* monotonic, as the next */
    int64_t deadline_us;
};

/* Starts the committer threads, which inherit the caller's signal mask. NULL when the kernel
 * refuses a thread. Both arguments must outlive it. */
struct ingest *ingest_start(const struct config *config, struct metrics *metrics);
/* Commit what still waits, stop the threads and free. */
void ingest_stop(struct ingest *ingest);

/* Record the events of `ticket`. `done` is called when each one's fate is durable, or when that failed,
 * perhaps before this returns. For duplicates, the event's time is that of the one that counts. */
void ingest_record(struct ingest *ingest, struct ingest_ticket *ticket);

#endif
