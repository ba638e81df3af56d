/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event descriptor wakes sleeping threads, one for each write. So it is written when the first seat gets
 * ready, and again for each SEATS_FOR_ONE further ones: a batch of answers is divided between as many threads
 * as it is worth waking. It stays readable until the last ready one is taken, so that nobody falls asleep
 * before.
 */
#include "fcgid/seats.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

enum { SEATS_FOR_ONE = 16 };

struct seats {
    int event;
    size_t count;
    pthread_mutex_t lock; /* over what follows */
    struct seat *free;
    size_t free_count;
    struct seat *ready;
    struct seat **ready_last;
    size_t ready_count;
    struct seat all[];
};

/* The request of `argument` can go on. */
static void wake(void *argument)
{
    static const uint64_t ONE = 1;
    struct seat *seat = argument;
    struct seats *seats = seat->seats;
    pthread_mutex_lock(&seats->lock);
    seat->next = NULL;
    *seats->ready_last = seat;
    seats->ready_last = &seat->next;
    bool tell = seats->ready_count++ % SEATS_FOR_ONE == 0;
    if (tell) {
        ssize_t written = write(seats->event, &ONE, sizeof(ONE));
        (void)written; /* cannot fail: the counter holds 2^64 - 2 */
    }
    pthread_mutex_unlock(&seats->lock);
}

struct seats *seats_new(size_t count, const struct router *router, enum pool pool, int64_t client_timeout_s)
{
    struct seats *seats = mem_zalloc(1, sizeof(*seats) + count * sizeof(seats->all[0]));
    seats->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (seats->event < 0) {
        free(seats);
        return NULL;
    }
    pthread_mutex_init(&seats->lock, NULL);
    seats->count = count;
    seats->ready_last = &seats->ready;
    for (size_t i = count; i-- > 0;) {
        struct seat *seat = &seats->all[i];
        dispatcher_init(&seat->dispatcher, router, pool, client_timeout_s);
        seat->dispatcher.wake = wake;
        seat->dispatcher.wake_argument = seat;
        seat->seats = seats;
        seats_give(seats, seat);
    }
    return seats;
}

void seats_free(struct seats *seats)
{
    for (size_t i = 0; i < seats->count; i++) {
        dispatcher_free(&seats->all[i].dispatcher);
    }
    pthread_mutex_destroy(&seats->lock);
    close(seats->event);
    free(seats);
}

struct seat *seats_take(struct seats *seats)
{
    pthread_mutex_lock(&seats->lock);
    struct seat *seat = seats->free;
    if (seat) {
        seats->free = seat->next;
        seats->free_count--;
    }
    pthread_mutex_unlock(&seats->lock);
    return seat;
}

/* The last one given is the first one taken: its memory is in the caches, and the others' is never touched.
 */
void seats_give(struct seats *seats, struct seat *seat)
{
    pthread_mutex_lock(&seats->lock);
    seat->next = seats->free;
    seats->free = seat;
    seats->free_count++;
    pthread_mutex_unlock(&seats->lock);
}

bool seats_all_free(struct seats *seats)
{
    pthread_mutex_lock(&seats->lock);
    bool all = seats->free_count == seats->count;
    pthread_mutex_unlock(&seats->lock);
    return all;
}

struct seat *seats_ready(struct seats *seats)
{
    uint64_t told;
    pthread_mutex_lock(&seats->lock);
    struct seat *seat = seats->ready;
    if (seat) {
        seats->ready = seat->next;
        if (--seats->ready_count == 0) {
            seats->ready_last = &seats->ready;
            ssize_t n = read(seats->event, &told, sizeof(told));
            (void)n;
        }
    }
    pthread_mutex_unlock(&seats->lock);
    return seat;
}

int seats_event(const struct seats *seats)
{
    return seats->event;
}
