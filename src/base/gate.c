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
    size_t line; /* how many wait */
    size_t line_max;
};

struct gate *gate_new(int places, size_t line_max)
{
    struct gate *gate = mem_zalloc(1, sizeof(*gate));
    pthread_mutex_init(&gate->lock, NULL);
    gate->places = places;
    gate->line_max = line_max;
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
    gate->line--;
    return waiter;
}

/* All wait equally long, so the first in line is the first whose time is over. The lock is held. */
static struct gate_waiter *take_expired(struct gate *gate, int64_t now_us)
{
    return gate->first && now_us >= gate->first->deadline_us ? take_first(gate) : NULL;
}

static void call(struct gate_waiter *waiter, bool entered)
{
    waiter->entered = entered;
    waiter->wake(waiter->argument);
}

enum gate_answer gate_enter(struct gate *gate, struct gate_waiter *waiter)
{
    enum gate_answer answer = GATE_WAITS;
    pthread_mutex_lock(&gate->lock);
    if (gate->places > 0) {
        gate->places--;
        answer = GATE_ENTERED;
    } else if (gate->line >= gate->line_max) {
        answer = GATE_FULL;
    } else {
        waiter->next = NULL;
        *gate->last = waiter;
        gate->last = &waiter->next;
        gate->line++;
    }
    pthread_mutex_unlock(&gate->lock);
    return answer;
}

void gate_leave(struct gate *gate)
{
    gate_expire(gate);
    pthread_mutex_lock(&gate->lock);
    struct gate_waiter *waiter = gate->first ? take_first(gate) : NULL;
    gate->places += !waiter;
    pthread_mutex_unlock(&gate->lock);
    if (waiter) {
        call(waiter, true);
    }
}

void gate_expire(struct gate *gate)
{
    struct gate_waiter *waiter;
    int64_t now_us = clock_monotonic_us();
    do {
        pthread_mutex_lock(&gate->lock);
        waiter = take_expired(gate, now_us);
        pthread_mutex_unlock(&gate->lock);
        if (waiter) {
            call(waiter, false);
        }
    } while (waiter);
}
