/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What records a batch of events: one statement, which is one transaction (queries/ingest.sql). One
 * committer belongs to one thread and owns one PostgreSQL connection.
 *
 * Four things can go wrong with a batch:
 * - The database is away. The answer is ERR_UNAVAILABLE; the same batch may be sent again, as ids make
 *   it idempotent.
 * - The connection is lost during the commit, so nobody knows whether it took effect. Sending the batch
 *   again settles it: a row that carries an event's own receipt is its own earlier success and reads as
 *   recorded, not as duplicate.
 * - PostgreSQL refuses a row (SQLSTATE class 22 or 23) that our checks let through. The batch is cut in
 *   halves until the row stands alone; it is refused and its neighbours are recorded.
 * - An event stands among the events already, from before the duplicate window (the same id at the same
 *   time). Such are found and are duplicates.
 *
 * Every committer has a shard number of its own in the whole cluster, held by an advisory lock for as
 * long as its connection lives, so two committers never wait for the same rollup row. Were two ever to
 * share one, they would wait for each other, and PostgreSQL would end a deadlock, which reads as away.
 */
#ifndef TALLYGATE_ANALYTICS_COMMITTER_H
#define TALLYGATE_ANALYTICS_COMMITTER_H

#include <stddef.h>
#include <stdint.h>

#include "analytics/event.h"
#include "base/config.h"
#include "base/err.h"

struct committer;

/* One event of a batch and whose it is. */
struct committer_entry {
    int64_t workspace_id;
    struct event *event;
    size_t place; /* of its arrival: of twins the first one counts */
};

/* `config` must outlive it. Nothing is connected yet. `as_role`: see struct pg_options. */
struct committer *committer_new(const struct config *config, bool as_role);
void committer_free(struct committer *committer);

/* One attempt to record all entries in one transaction; they are put into another order. ERR_OK: each
 * has its fate, durably. ERR_INVALID: PostgreSQL refuses at least one of them, or they are too much for
 * one statement; nothing was recorded, and committer_sift() tells which. */
enum err committer_record(struct committer *committer, struct committer_entry *entries, size_t count);
/* The same, with as many attempts as `deadline_us` (monotonic) leaves time for; then ERR_UNAVAILABLE. */
enum err committer_record_in_time(struct committer *committer, struct committer_entry *entries, size_t count,
                                  int64_t deadline_us);
/* Record what PostgreSQL does not refuse, in as many transactions as it takes. ERR_UNAVAILABLE also when
 * `deadline_us` (monotonic) passes on the way: what was recorded until then has its fate. */
enum err committer_sift(struct committer *committer, struct committer_entry *entries, size_t count,
                        int64_t deadline_us);
/* The SQLSTATE of the last refusal. */
const char *committer_sqlstate(const struct committer *committer);

#endif
