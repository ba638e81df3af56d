/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A door that so many may be behind at once. It bounds what a costly kind of work takes of memory, however
 * many ask for it. Who finds no place is called when one is free, and holds no thread meanwhile.
 */
#ifndef TALLYGATE_BASE_GATE_H
#define TALLYGATE_BASE_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct gate;

struct gate_waiter {
    int64_t deadline_us; /* monotonic */
    void (*wake)(void *argument);
    void *argument;
    bool entered; /* set before the call: whether there was a place in time */
    struct gate_waiter *next;
};

struct gate *gate_new(int places);
void gate_free(struct gate *gate);
/* True when there was a place. Else `waiter` is kept in line, and its `wake` is called once, perhaps before
 * this returns: by whoever leaves, or by gate_expire(). */
bool gate_enter(struct gate *gate, struct gate_waiter *waiter);
/* Give the place to the next in line. */
void gate_leave(struct gate *gate);
/* Turn those away whose deadline is over. To be called about once a second. */
void gate_expire(struct gate *gate);

#endif
