/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay carries domain events on: from the outbox, where they were written in the transaction of their
 * cause, to those that were told, in the order of their numbers, and to a delivery for each webhook that
 * wants to hear of one. That is one transaction, so an event is carried on once; what it leads to is done at
 * least once, under the event's id.
 *
 * One process at a time relays, which keeps the order. What a platform counts of itself is recorded before
 * the transaction is committed, under the events' ids, so doing it again changes nothing.
 */
#ifndef TALLYGATE_WORK_RELAY_H
#define TALLYGATE_WORK_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/pg.h"

enum { RELAY_MAX = 500 }; /* events in a transaction */

/* One that is to be counted; texts live until the sink returns. */
struct relay_event {
    int64_t workspace_id; /* the platform's */
    const char *id;
    const char *type;
    const char *user_id; /* or NULL */
    const char *subject;
    int64_t at_us;
};

/* Record them, durably; anything but ERR_OK, and nothing was carried on. */
typedef enum err relay_sink(void *argument, const struct relay_event *events, size_t count);

/* Whether any wait. */
enum err relay_is_due(struct pg *pg, bool *ret_due);
/* Carry on up to RELAY_MAX; *ret_count is how many that were. */
enum err relay_run(struct pg *pg, relay_sink *sink, void *argument, int64_t *ret_count);

#endif
