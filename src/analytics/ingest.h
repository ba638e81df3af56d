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

/* Starts the committer threads, which inherit the caller's signal mask. NULL when the kernel
 * refuses a thread. Both arguments must outlive it. */
struct ingest *ingest_start(const struct config *config, struct metrics *metrics);
/* Commit what still waits, stop the threads and free. No request may be inside ingest_record(). */
void ingest_stop(struct ingest *ingest);

/* Record `count` events in `workspace_id` and wait until each one's fate is durable; fills in fate
 * and, for duplicates, the time of the event that counts. ERR_UNAVAILABLE when the queue is full or
 * the database did not take them within the wait limit: then nothing is promised, and sending them
 * again with the same ids is safe. */
enum err ingest_record(struct ingest *ingest, int64_t workspace_id, struct event *events, size_t count);

#endif
