/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group commit.
 *
 * A request puts a ticket (its workspace and events) into a bounded queue. A
 * committer thread takes all tickets that wait, up to a bound, and records their events by one
 * statement, which is one transaction: one round trip and one fsync serve all of them. While it runs,
 * the next tickets gather, so batches grow by themselves as load does. When the transaction is durable the
 * tickets' owners are called.
 *
 * A statement costs the database half a millisecond before its first event, and commits in about as much
 * time, so left to themselves batches stay at a handful. When the last batch shows that others are about, the
 * next one waits for them for ingest_gather_ms: two of these halve what an event costs. A lone client waits
 * for nobody and is answered at once.
 *
 * What is guaranteed: no event is answered as recorded before its transaction committed; what was
 * answered is there; each id counts once.
 *
 * One committer makes the largest batches, and batches are what makes an event cheap; but it leaves the
 * database idle while it prepares the next, and one that hangs holds up everybody. So there are
 * several, and a further one starts only when that pays: when PARALLEL_EVENTS wait, or when a ticket has
 * waited for PATIENCE_MS.
 *
 * When the database is away a batch is tried again until its tickets' wait limit, then they are
 * answered 503. When PostgreSQL refuses a row, each ticket of the batch goes on alone, and those that are
 * refused again are sifted last, so that one tenant's bad rows cost the others no more than one attempt.
 */
#include "analytics/ingest.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/committer.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    RETRY_PAUSE_MS = 20,
    PARALLEL_EVENTS = 500,
    PATIENCE_MS = 50,
    LARGE_EVENTS = 1000,
    COMPANY = 3, /* tickets in the last batch: others are likely to come */
};

/* One thread and what is its alone. */
struct crew {
    struct ingest *ingest;
    pthread_t thread;
    struct committer *committer;
    struct committer_entry *entries;
    size_t entries_capacity;
};

struct ingest {
    const struct config *config;
    struct metrics *metrics;
    struct crew *crews;
    size_t crews_count;

    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t work;
    struct ingest_ticket *first;
    struct ingest_ticket **last;
    size_t waiting; /* tickets in the queue */
    size_t waiting_events;
    size_t held_events; /* those and the ones that committers have */
    size_t busy;        /* committers at work */
    size_t last_taken;  /* tickets of the last batch */
    bool stopping;
};

/* ---- the request's side ---- */

static void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* So many tickets are a batch: when nearly all requests that this worker takes wait, few more can come. */
static size_t enough(const struct ingest *ingest)
{
    return (size_t)ingest->config->ingest_requests * 3 / 4;
}

void ingest_record(struct ingest *ingest, struct ingest_ticket *ticket)
{
    int64_t now_us = clock_monotonic_us();
    ticket->next = NULL;
    ticket->queued_us = now_us;
    ticket->deadline_us = now_us + ingest->config->ingest_wait_ms * 1000;
    pthread_mutex_lock(&ingest->lock);
    /* An empty queue takes any one request, or a large one could never enter a small queue. Else large ones
     * have half of it, so that a tenant who sends them leaves room for the others. */
    size_t room = (size_t)ingest->config->ingest_queue_events / (ticket->count > LARGE_EVENTS ? 2 : 1);
    if (ingest->held_events && ingest->held_events + ticket->count > room) {
        pthread_mutex_unlock(&ingest->lock);
        ticket->result = ERR_UNAVAILABLE;
        ticket->done(ticket->argument);
        return;
    }
    bool first = !ingest->first;
    *ingest->last = ticket;
    ingest->last = &ticket->next;
    ingest->waiting++;
    ingest->waiting_events += ticket->count;
    ingest->held_events += ticket->count;
    atomic_store_explicit(&metrics_seat()->queued, (int64_t)ingest->waiting_events, memory_order_relaxed);
    /* While one is at work, another only needs to know since when somebody waits, and when many do. */
    if (first || ingest->waiting == enough(ingest) || ingest->waiting_events >= PARALLEL_EVENTS) {
        pthread_cond_signal(&ingest->work);
    }
    pthread_mutex_unlock(&ingest->lock);
}

/* ---- the committers' side ---- */

/* How long a ticket may wait before somebody begins. */
static int64_t patience_us(const struct ingest *ingest)
{
    bool company = ingest->last_taken >= COMPANY;
    return ingest->busy ? PATIENCE_MS * 1000 : company ? ingest->config->ingest_gather_ms * 1000 : 0;
}

/* Sleep until it is this committer's turn; false when it is time to stop and nothing is left. The lock
 * is held. */
static bool await_turn(struct ingest *ingest)
{
    for (;;) {
        if (!ingest->first) {
            if (ingest->stopping) {
                return false;
            }
            pthread_cond_wait(&ingest->work, &ingest->lock);
            continue;
        }
        int64_t until_us = ingest->first->queued_us + patience_us(ingest);
        if (ingest->waiting_events >= PARALLEL_EVENTS || clock_monotonic_us() >= until_us ||
            (ingest->busy == 0 && ingest->waiting >= enough(ingest))) {
            return true;
        }
        struct timespec until = clock_timespec(until_us);
        pthread_cond_timedwait(&ingest->work, &ingest->lock, &until);
    }
}

/* Wait for work and take the tickets of one batch off the queue: NULL at the end. */
static struct ingest_ticket *take_tickets(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    struct ingest_ticket *taken = await_turn(ingest) ? ingest->first : NULL;
    struct ingest_ticket **end = &ingest->first;
    size_t events = 0, tickets = 0;
    while (*end && (events == 0 || events + (*end)->count <= (size_t)ingest->config->ingest_batch_events)) {
        events += (*end)->count;
        tickets++;
        end = &(*end)->next;
    }
    if (taken) {
        ingest->waiting -= tickets;
        ingest->last_taken = tickets;
        ingest->first = *end;
        ingest->last = ingest->first ? ingest->last : &ingest->first;
        *end = NULL;
        ingest->waiting_events -= events;
        atomic_store_explicit(&metrics_seat()->queued, (int64_t)ingest->waiting_events, memory_order_relaxed);
        ingest->busy++;
        if (ingest->first) {
            pthread_cond_signal(&ingest->work); /* more than one batch: another may begin */
        }
    }
    pthread_mutex_unlock(&ingest->lock);
    return taken;
}

/* What a ticket is told when its batch ended with `e`. When a part of it was recorded before the fault, that
 * is durable and must not be sent again; what is left is told event by event. */
static enum err ticket_result(const struct ingest_ticket *ticket, enum err e)
{
    for (size_t i = 0; e && i < ticket->count; i++) {
        e = ticket->events[i].fate == EVENT_PENDING ? e : ERR_OK;
    }
    return e;
}

/* Tell the tickets their result. Each may be gone as soon as it is done. */
static void finish_tickets(struct ingest *ingest, struct ingest_ticket *tickets, enum err result)
{
    size_t events = 0;
    for (const struct ingest_ticket *t = tickets; t; t = t->next) {
        events += t->count;
    }
    pthread_mutex_lock(&ingest->lock);
    ingest->held_events -= events;
    pthread_mutex_unlock(&ingest->lock);
    while (tickets) {
        struct ingest_ticket *next = tickets->next;
        tickets->result = ticket_result(tickets, result);
        tickets->done(tickets->argument);
        tickets = next;
    }
}

/* Answer 503 to the tickets whose wait limit is over; returns the others. */
static struct ingest_ticket *expire_tickets(struct ingest *ingest, struct ingest_ticket *tickets)
{
    struct ingest_ticket *expired = NULL, *kept = NULL;
    struct ingest_ticket **kept_end = &kept;
    int64_t now_us = clock_monotonic_us();
    while (tickets) {
        struct ingest_ticket *next = tickets->next;
        if (now_us >= tickets->deadline_us) {
            tickets->next = expired;
            expired = tickets;
        } else {
            tickets->next = NULL;
            *kept_end = tickets;
            kept_end = &tickets->next;
        }
        tickets = next;
    }
    finish_tickets(ingest, expired, ERR_UNAVAILABLE);
    return kept;
}

static size_t gather(struct crew *crew, const struct ingest_ticket *tickets)
{
    size_t count = 0;
    for (const struct ingest_ticket *t = tickets; t; t = t->next) {
        count += t->count;
    }
    if (count > crew->entries_capacity) {
        crew->entries = mem_resize(crew->entries, count * sizeof(*crew->entries));
        crew->entries_capacity = count;
    }
    size_t n = 0;
    for (const struct ingest_ticket *t = tickets; t; t = t->next) {
        for (size_t i = 0; i < t->count; i++) {
            t->events[i].fate = EVENT_PENDING;
            crew->entries[n] = (struct committer_entry){t->workspace_id, &t->events[i], n};
            n++;
        }
    }
    return count;
}

static void count_fates(struct crew *crew, size_t count)
{
    struct metrics *metrics = crew->ingest->metrics;
    uint64_t recorded = 0, duplicates = 0, refused = 0;
    for (size_t i = 0; i < count; i++) {
        refused += crew->entries[i].event->fate == EVENT_REFUSED;
        recorded += crew->entries[i].event->fate == EVENT_RECORDED;
        duplicates += crew->entries[i].event->fate == EVENT_DUPLICATE;
    }
    if (refused) {
        log_warn("PostgreSQL refused %llu of %zu events, the last with SQLSTATE %s",
                 (unsigned long long)refused, count, committer_sqlstate(crew->committer));
    }
    log_debug("committed %zu events: %llu recorded, %llu duplicates", count, (unsigned long long)recorded,
              (unsigned long long)duplicates);
    atomic_fetch_add(&metrics->events_recorded, recorded);
    atomic_fetch_add(&metrics->events_duplicate, duplicates);
    atomic_fetch_add(&metrics->ingest_batches, 1);
    metrics_add(&metrics->batch_events, METRICS_SIZES, (int64_t)count);
}

static void end_ticket(struct crew *crew, struct ingest_ticket *ticket, size_t count, enum err e)
{
    count_fates(crew, count);
    finish_tickets(crew->ingest, ticket, e);
}

/* PostgreSQL refuses something in this batch: find in which tickets it is. These are returned, the others
 * recorded. */
static struct ingest_ticket *part_tickets(struct crew *crew, struct ingest_ticket *tickets)
{
    struct ingest_ticket *refused = NULL;
    struct ingest_ticket **end = &refused;
    while (tickets) {
        struct ingest_ticket *ticket = tickets;
        tickets = ticket->next;
        ticket->next = NULL;
        size_t count = gather(crew, ticket);
        enum err e = committer_record_in_time(crew->committer, crew->entries, count, ticket->deadline_us);
        if (e == ERR_INVALID) {
            *end = ticket;
            end = &ticket->next;
        } else {
            end_ticket(crew, ticket, count, e);
        }
    }
    return refused;
}

/* Find the rows that PostgreSQL refuses. One tenant's many take the others' time only when those are through.
 */
static void sift_tickets(struct crew *crew, struct ingest_ticket *tickets)
{
    tickets = part_tickets(crew, tickets);
    while (tickets) {
        struct ingest_ticket *ticket = tickets;
        tickets = ticket->next;
        ticket->next = NULL;
        size_t count = gather(crew, ticket);
        enum err e = committer_sift(crew->committer, crew->entries, count, ticket->deadline_us);
        end_ticket(crew, ticket, count, e);
    }
}

/* Bring one batch to its end, whatever happens on the way. */
static void work_off(struct crew *crew, struct ingest_ticket *tickets)
{
    while ((tickets = expire_tickets(crew->ingest, tickets))) {
        size_t count = gather(crew, tickets);
        int64_t began_us = clock_monotonic_us();
        enum err e = committer_record(crew->committer, crew->entries, count);
        if (!e) {
            metrics_add(&crew->ingest->metrics->commit_us, METRICS_TIMES_US, clock_monotonic_us() - began_us);
        }
        if (e == ERR_INVALID) {
            sift_tickets(crew, tickets);
            return;
        }
        if (e != ERR_UNAVAILABLE) {
            end_ticket(crew, tickets, count, e);
            return;
        }
        struct timespec pause = {.tv_nsec = RETRY_PAUSE_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
}

static void *run_crew(void *argument)
{
    struct crew *crew = argument;
    struct ingest *ingest = crew->ingest;
    struct ingest_ticket *tickets;
    while ((tickets = take_tickets(ingest))) {
        work_off(crew, tickets);
        pthread_mutex_lock(&ingest->lock);
        ingest->busy--;
        pthread_mutex_unlock(&ingest->lock);
    }
    log_thread_end();
    return NULL;
}

struct ingest *ingest_start(const struct config *config, struct metrics *metrics)
{
    struct ingest *ingest = mem_zalloc(1, sizeof(*ingest));
    ingest->config = config;
    ingest->metrics = metrics;
    ingest->last = &ingest->first;
    ingest->crews_count = (size_t)config->ingest_committers;
    ingest->crews = mem_zalloc(ingest->crews_count, sizeof(*ingest->crews));
    pthread_mutex_init(&ingest->lock, NULL);
    cond_init_monotonic(&ingest->work);
    for (size_t i = 0; i < ingest->crews_count; i++) {
        struct crew *crew = &ingest->crews[i];
        crew->ingest = ingest;
        crew->committer = committer_new(config, false);
        if (pthread_create(&crew->thread, NULL, run_crew, crew) != 0) {
            return NULL; /* the worker ends on this; nothing to tidy */
        }
    }
    return ingest;
}

void ingest_stop(struct ingest *ingest)
{
    if (!ingest) {
        return;
    }
    pthread_mutex_lock(&ingest->lock);
    ingest->stopping = true;
    pthread_cond_broadcast(&ingest->work);
    pthread_mutex_unlock(&ingest->lock);
    for (size_t i = 0; i < ingest->crews_count; i++) {
        pthread_join(ingest->crews[i].thread, NULL);
        committer_free(ingest->crews[i].committer);
        free(ingest->crews[i].entries);
    }
    free(ingest->crews);
    pthread_cond_destroy(&ingest->work);
    pthread_mutex_destroy(&ingest->lock);
    free(ingest);
}
