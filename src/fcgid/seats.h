/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests that a worker may have under way at once, and which of them its threads can work on. A seat
 * is free, in the hands of one thread, waiting (its request is with a committer, say), or ready to go on.
 */
#ifndef TALLYGATE_FCGID_SEATS_H
#define TALLYGATE_FCGID_SEATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgid/dispatch.h"

struct seats;

struct seat {
    struct dispatcher dispatcher;
    struct seats *seats;
    struct seat *next;
};

/* NULL when the kernel gives no descriptor. */
struct seats *seats_new(size_t count, const struct router *router, enum pool pool, int64_t client_timeout_s);
/* All seats must be free. */
void seats_free(struct seats *seats);

/* A free one, or NULL. */
struct seat *seats_take(struct seats *seats);
void seats_give(struct seats *seats, struct seat *seat);
/* Whether all are free. */
bool seats_all_free(struct seats *seats);

/* The one that has been ready for longest, or NULL. */
struct seat *seats_ready(struct seats *seats);
/* A descriptor that is readable while some are ready. */
int seats_event(const struct seats *seats);

#endif
