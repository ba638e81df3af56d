/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deliveries of events to webhooks, as the database has them. An attempt is begun in one short transaction
 * and told in another, many at a time; between them the delivery is leased, so whoever is lost meanwhile is
 * followed by another attempt, and the receiver may hear of the event twice, under the same id.
 *
 * To each webhook the events of one subject go in order: one that is not delivered yet, or given up, blocks
 * those behind it. The others pass.
 */
#ifndef TALLYGATE_WORK_DELIVERY_H
#define TALLYGATE_WORK_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/crypto.h"
#include "store/pg.h"
#include "store/pg_array.h"

enum {
    DELIVERY_ATTEMPTS = 10,
    DELIVERY_LEASE_S = 60,      /* longer than an attempt can take */
    DELIVERY_DISABLED_DAYS = 5, /* a webhook that fails for as long is disabled */
};

/* An attempt that was begun. Texts live in the arena that it was taken into. */
struct delivery {
    int64_t workspace_id;
    int64_t id;
    int64_t attempts; /* with this one */
    char webhook_id[UUID_TEXT_SIZE];
    const char *event_id;
    const char *url;
    const char *secret;     /* sealed, in hex */
    const char *old_secret; /* that counts as well; NULL: there is none */
    const char *body;       /* NULL: the event is not kept any more */
    const char *trace;      /* the traceparent of what caused it, or NULL */
    bool cloudevent;
    int64_t revision; /* of the webhook */
};

enum delivery_fate { DELIVERY_DONE, DELIVERY_AGAIN, DELIVERY_FAILED };

struct delivery_end {
    int64_t workspace_id;
    char webhook_id[UUID_TEXT_SIZE];
    int64_t id;
    int64_t attempts; /* as it was begun: of a later attempt this tells nothing */
    enum delivery_fate fate;
    int64_t delay_ms;  /* before the next attempt */
    const char *entry; /* for its history, as JSON */
    bool gone;         /* the receiver said so: its webhook is disabled */
    bool slow;         /* it took long */
    int64_t revision;  /* as it was begun: of the webhook as it is after a change this tells nothing */
};

/* A webhook that was disabled because of that, or as it fails for so long. */
struct delivery_disabled {
    int64_t workspace_id;
    const char *webhook_id;
    const char *host;
    int64_t user_id; /* who made it, or owns the workspace; 0: nobody */
    const char *reason;
};
/* In the transaction that disables it. */
typedef enum err delivery_disabled_taker(struct pg *pg, const struct delivery_disabled *disabled);

/* How many attempts at a webhook are under way. */
struct delivery_load {
    const char *webhook_id;
    int64_t count;
};

/* One for a process; one thread uses it. `issuer` must outlive it. */
struct deliveries;
struct deliveries *deliveries_new(const char *issuer, delivery_disabled_taker *disabled);
void deliveries_free(struct deliveries *deliveries);

struct delivery_turn {
    const struct delivery_end *ends; /* to tell */
    size_t ends_count;
    const struct delivery_load *loads; /* what is under way besides */
    size_t loads_count;
    int64_t each_most; /* of one webhook, and of one workspace */
    int64_t workspace_most;
    int64_t slow_most;      /* of all that are slow or fail */
    size_t most;            /* to begin */
    struct arena *arena;    /* for these */
    struct delivery *begun; /* room for `most` */
};
/* Tell and begin, in one transaction. */
enum err deliveries_turn(struct deliveries *deliveries, struct pg *pg, const struct delivery_turn *turn,
                         size_t *ret_begun);

/* Whether any are due. */
enum err delivery_is_due(struct pg *pg, bool *ret_due);
/* Give up some of those to webhooks that are disabled; *ret_more: there may be others. */
enum err delivery_give_up(struct pg *pg, bool *ret_more);
/* Give up some of what waits for longer than its events are kept; *ret_more: there may be others. */
enum err delivery_expire(struct pg *pg, int64_t keep_days, bool *ret_more);
/* Held to the end of the transaction by whoever makes deliveries, begins attempts or ends them, so that none
 * stays blocked by one that just ended, and nobody waits in a ring. */
enum err delivery_lock(struct pg *pg);

#endif
