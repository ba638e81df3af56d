/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row becomes visible when its transaction commits, which may be after a row with a later time.
 * So each refresh looks back, longer than any transaction of ours can last: some statements, each
 * with its time limit, and OVERLAP_S. Taking a row in twice does no harm. A row is kept five minutes past its
 * end: the end of a token is judged by the clock of the host that made it, which need not agree with the
 * database's. Every FULL_EVERY_S the set is read anew, which drops what expired.
 */
#include "identity/revocations.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"

enum { OVERLAP_S = 60, STATEMENTS = 5, FULL_EVERY_S = 300, STALE_AFTER_S = 10, SLOTS_MIN = 256 };

static const struct pg_statement SINCE = {
    "revocations_since",
    "SELECT grant_id, " PG_US(
        "now()") " FROM revocations "
                 "WHERE expires_at > now() - interval '5 minutes' AND revoked_at > to_timestamp($1::bigint / 1000000.0)"};
static const struct pg_statement NOW = {"revocations_now", "SELECT " PG_US("now()")};

/* An open-addressing set of ids; the all-zero id marks a free slot and is never issued. */
struct set {
    uint8_t (*slots)[16];
    size_t capacity; /* a power of two */
    size_t count;
};

struct revocations {
    pthread_rwlock_t lock; /* over set and refreshed_us */
    struct set set;
    int64_t refreshed_us; /* monotonic; 0: never */
    int64_t overlap_us;
    /* The housekeeper's alone: */
    int64_t since_us; /* the database's clock */
    int64_t full_at_us;
};

static const uint8_t FREE[16];

/* Ids are UUIDv7: their last bytes are random, which is all the hash this needs. */
static size_t slot_of(const struct set *set, const uint8_t id[16])
{
    uint64_t hash;
    memcpy(&hash, id + 8, sizeof(hash));
    size_t i = (size_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (set->capacity - 1);
    while (memcmp(set->slots[i], FREE, 16) != 0 && memcmp(set->slots[i], id, 16) != 0) {
        i = (i + 1) & (set->capacity - 1);
    }
    return i;
}

static void set_init(struct set *set, size_t capacity)
{
    *set = (struct set){.slots = mem_zalloc(capacity, 16), .capacity = capacity};
}

static void set_add(struct set *set, const uint8_t id[16])
{
    if (set->count * 2 >= set->capacity) {
        struct set larger;
        set_init(&larger, set->capacity * 2);
        for (size_t i = 0; i < set->capacity; i++) {
            if (memcmp(set->slots[i], FREE, 16) != 0) {
                memcpy(larger.slots[slot_of(&larger, set->slots[i])], set->slots[i], 16);
            }
        }
        larger.count = set->count;
        free(set->slots);
        *set = larger;
    }
    size_t i = slot_of(set, id);
    if (memcmp(set->slots[i], FREE, 16) == 0) {
        memcpy(set->slots[i], id, 16);
        set->count++;
    }
}

struct revocations *revocations_new(int64_t statement_limit_ms)
{
    struct revocations *revocations = mem_zalloc(1, sizeof(*revocations));
    revocations->overlap_us = OVERLAP_S * USEC_PER_SEC + STATEMENTS * statement_limit_ms * 1000;
    pthread_rwlock_init(&revocations->lock, NULL);
    set_init(&revocations->set, SLOTS_MIN);
    return revocations;
}

void revocations_free(struct revocations *revocations)
{
    if (revocations) {
        pthread_rwlock_destroy(&revocations->lock);
        free(revocations->set.slots);
        free(revocations);
    }
}

/* The database's clock, read before its rows: what commits later will be later than this. */
static enum err read_now(struct pg *pg, int64_t *ret_us)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &NOW, NULL, &result);
    if (!e) {
        *ret_us = pg_get_int(result, 0, 0);
    }
    return e;
}

enum err revocations_refresh(struct revocations *revocations, struct pg *pg)
{
    PG_RESULT_AUTO result = NULL;
    struct pg_params params = {0};
    int64_t started_us = clock_monotonic_us();
    bool full = started_us >= revocations->full_at_us;
    int64_t now_us = 0;

    enum err e = full ? read_now(pg, &now_us) : ERR_OK;
    if (e) {
        return e;
    }
    pg_int(&params, full ? 0 : revocations->since_us - revocations->overlap_us);
    e = pg_query(pg, &SINCE, &params, &result);
    if (e) {
        return e;
    }
    struct set fresh = {0};
    if (full) {
        set_init(&fresh, SLOTS_MIN);
    }
    pthread_rwlock_wrlock(&revocations->lock);
    struct set *into = full ? &fresh : &revocations->set;
    for (int i = 0; i < PQntuples(result); i++) {
        uint8_t id[16];
        if (uuid_parse(pg_get_text(result, i, 0), id)) {
            set_add(into, id);
        }
        now_us = pg_get_int(result, i, 1);
    }
    if (full) {
        free(revocations->set.slots);
        revocations->set = fresh;
    }
    revocations->refreshed_us = started_us;
    pthread_rwlock_unlock(&revocations->lock);

    if (now_us) {
        revocations->since_us = now_us;
    }
    if (full) {
        revocations->full_at_us = started_us + FULL_EVERY_S * USEC_PER_SEC;
    }
    return ERR_OK;
}

static bool set_has(const struct set *set, const uint8_t id[16])
{
    return memcmp(id, FREE, 16) != 0 && memcmp(set->slots[slot_of(set, id)], id, 16) == 0;
}

enum err revocations_check(struct revocations *revocations, const uint8_t grant_id[16],
                           const uint8_t token_id[16])
{
    pthread_rwlock_rdlock(&revocations->lock);
    bool known = revocations->refreshed_us &&
                 clock_monotonic_us() - revocations->refreshed_us < STALE_AFTER_S * USEC_PER_SEC;
    const struct set *set = &revocations->set;
    bool revoked = set_has(set, grant_id) || set_has(set, token_id);
    pthread_rwlock_unlock(&revocations->lock);
    return revoked ? ERR_UNAUTHENTICATED : known ? ERR_OK : ERR_UNAVAILABLE;
}
