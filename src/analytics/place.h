/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place in the order of a workspace's events, by time and id: where a page or a stretch ended and the next
 * one goes on. With an empty id, which no event has, it is the place before all events of its time.
 *
 * A client gets it as a cursor, base64url of MICROSECONDS:ID.
 */
#ifndef TALLYGATE_ANALYTICS_PLACE_H
#define TALLYGATE_ANALYTICS_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analytics/event.h"
#include "base/buf.h"
#include "base/clock.h"
#include "store/pg.h"

enum {
    PLACE_ID_MAX = 4 * EVENT_ID_MAX, /* bytes */
    PLACE_DIGITS_MAX = 18,           /* of the microseconds */
    PLACE_PLAIN_MAX = PLACE_DIGITS_MAX + 1 + PLACE_ID_MAX,
    PLACE_CURSOR_MAX = (PLACE_PLAIN_MAX * 4 + 2) / 3,
};

struct place {
    int64_t us;
    char time[CLOCK_TEXT_SIZE]; /* the same for PostgreSQL */
    char id[PLACE_ID_MAX + 1];
};

/* `us` must lie between CLOCK_MIN_US and CLOCK_MAX_US. */
void place_set(struct place *place, int64_t us, const char *id);
/* Add time and id as parameters; the place must live until the call is over. */
void place_params(const struct place *place, struct pg_params *params);

/* The place of a cursor, which may be any text. False, and *ret_place untouched, when it is none. */
bool place_from_cursor(const char *text, size_t length, struct place *ret_place);
/* Append the place's cursor. */
void place_put_cursor(const struct place *place, struct buf *buf);

#endif
