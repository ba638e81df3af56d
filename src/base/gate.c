/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gate.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

struct gate {
    pthread_mutex_t lock; /* over what follows */
    int places;           /* free ones; then nobody is in line */
    struct gate_waiter *first;
    struct gate_waiter **last;
};

struct gate *gate_new(int places)
{
    struct gate *gate = mem_zalloc(1, sizeof(*gate));
    pthread_mutex_init(&gate->lock, NULL);
    gate->places = places;
    gate->last = &gate->first;
    return gate;
}

void gate_free(struct gate *gate)
{
    if (gate) {
        pthread_mutex_destroy(&gate->lock);
        free(gate);
    }
}

/* The first in line, taken out of it. The lock is held. */
static struct gate_waiter *take_first(struct gate *gate)
{
    struct gate_waiter *waiter = gate->first;
    gate->first = waiter->next;
    gate->last = gate->first ? gate->last : &gate->first;
    return waiter;
}

bool gate_enter(struct gate *gate, struct gate_waiter *waiter)
{
    pthread_mutex_lock(&gate->lock);
    bool entered = gate->places > 0;
    gate->places -= entered;
    if (!entered) {
        waiter->next = NULL;
        *gate->last = waiter;
        gate->last = &waiter->next;
    }
    pthread_mutex_unlock(&gate->lock);
    return entered;
}

void gate_leave(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    struct gate_waiter *waiter = gate->first ? take_first(gate) : NULL;
    gate->places += !waiter;
    pthread_mutex_unlock(&gate->lock);
    if (waiter) {
        waiter->entered = true;
        waiter->wake(waiter->argument);
    }
}

/* All wait equally long, so the first in line is the first whose time is over. */
void gate_expire(struct gate *gate)
{
    struct gate_waiter *waiter;
    int64_t now_us = clock_monotonic_us();
    do {
        pthread_mutex_lock(&gate->lock);
        waiter = gate->first && now_us >= gate->first->deadline_us ? take_first(gate) : NULL;
        pthread_mutex_unlock(&gate->lock);
        if (waiter) {
            waiter->entered = false;
            waiter->wake(waiter->argument);
        }
    } while (waiter);
}
