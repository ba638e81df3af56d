/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A door that so many may be behind at once. It bounds what a costly kind of work takes of memory, however
 * many ask for it. Who finds no place is called when one is free, and holds no thread meanwhile.
 */
#ifndef TALLYGATE_BASE_GATE_H
#define TALLYGATE_BASE_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gate;

struct gate_waiter {
    int64_t deadline_us; /* monotonic */
    void (*wake)(void *argument);
    void *argument;
    bool entered; /* set before the call: whether there was a place in time */
    struct gate_waiter *next;
};

enum gate_answer {
    GATE_ENTERED,
    GATE_WAITS, /* `wake` is called once, perhaps before gate_enter() returns: by whoever leaves, or by
                 * gate_expire() */
    GATE_FULL,  /* the line is as long as may be */
};

struct gate *gate_new(int places, size_t line_max);
void gate_free(struct gate *gate);
enum gate_answer gate_enter(struct gate *gate, struct gate_waiter *waiter);
/* Give the place to the next in line whose time is not over. */
void gate_leave(struct gate *gate);
/* Turn those away whose deadline is over. To be called several times a second. */
void gate_expire(struct gate *gate);

#endif
