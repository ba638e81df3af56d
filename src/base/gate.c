/* SPDX-License-Identifier: Apache-2.0 */
#include "base/gate.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

struct gate {
    pthread_mutex_t lock; /* over places */
    pthread_cond_t left;
    int places; /* free ones */
};

struct gate *gate_new(int places)
{
    struct gate *gate = mem_zalloc(1, sizeof(*gate));
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&gate->left, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&gate->lock, NULL);
    gate->places = places;
    return gate;
}

void gate_free(struct gate *gate)
{
    if (gate) {
        pthread_cond_destroy(&gate->left);
        pthread_mutex_destroy(&gate->lock);
        free(gate);
    }
}

bool gate_enter(struct gate *gate, int64_t deadline_us)
{
    struct timespec deadline = clock_timespec(deadline_us);
    int result = 0;
    pthread_mutex_lock(&gate->lock);
    while (gate->places == 0 && result != ETIMEDOUT) {
        result = pthread_cond_timedwait(&gate->left, &gate->lock, &deadline);
    }
    bool entered = gate->places > 0;
    gate->places -= entered;
    pthread_mutex_unlock(&gate->lock);
    return entered;
}

void gate_leave(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->places++;
    pthread_cond_signal(&gate->left);
    pthread_mutex_unlock(&gate->lock);
}
