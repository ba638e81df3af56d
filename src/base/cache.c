/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table with chains, and a ring of all entries by their last use, under one mutex. It is held
 * to turn pointers and for nothing else: an entry is made before it is taken and freed after it is
 * given back, and a value is copied out while its entry is merely held, so a large value stops nobody.
 * For the moment of such a copy an entry that was dropped meanwhile lives on; that is the only memory
 * beyond the maximum, one value a thread.
 *
 * An entry that expired stays until it is asked for, replaced or the oldest; nobody sweeps.
 */
#include "base/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "base/siphash.h"

enum {
    BYTES_PER_BUCKET = 512, /* about the smallest entry, so chains stay short */
    MALLOC_BYTES = 16,      /* what malloc spends on one piece */
    LARGEST_SHARE = 8,
};

struct link {
    struct link *next;
    struct link *previous;
};

struct entry {
    struct link link;   /* must stay first: the ring knows entries by it */
    struct entry *next; /* in the bucket, or among those that are to be released */
    atomic_uint holders;
    uint64_t hash;
    int64_t expires_us;
    size_t key_length;
    size_t value_length;
    char bytes[]; /* the key, then the value */
};

struct cache {
    uint8_t secret[SIPHASH_SECRET_SIZE];
    size_t largest_bytes; /* of a key, and of a value */
    size_t room_bytes;    /* for entries */
    size_t buckets_count;
    pthread_mutex_t lock; /* over all below */
    size_t used_bytes;
    struct link ring; /* next is the entry that was used last, previous the one that was longest ago */
    struct entry *buckets[];
};

struct cache *cache_new(size_t max_bytes)
{
    size_t count = max_bytes / BYTES_PER_BUCKET + 1;
    size_t size = sizeof(struct cache) + count * sizeof(struct entry *);
    struct cache *cache = mem_zalloc(1, size);
    crypto_random(cache->secret, sizeof(cache->secret));
    cache->largest_bytes = max_bytes / LARGEST_SHARE;
    cache->room_bytes = max_bytes > size ? max_bytes - size : 0;
    cache->buckets_count = count;
    cache->ring = (struct link){&cache->ring, &cache->ring};
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

/* ---- entries ---- */

static size_t entry_bytes(size_t key_length, size_t value_length)
{
    return MALLOC_BYTES + sizeof(struct entry) + key_length + value_length;
}

static struct entry *entry_new(const char *key, size_t key_length, const char *value, size_t value_length)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + key_length + value_length);
    *entry = (struct entry){.holders = 1, .key_length = key_length, .value_length = value_length};
    memcpy(entry->bytes, key, key_length);
    memcpy(entry->bytes + key_length, value, value_length);
    return entry;
}

static void release(struct entry *entry)
{
    if (atomic_fetch_sub(&entry->holders, 1) == 1) {
        free(entry);
    }
}

static void release_all(struct entry *first)
{
    while (first) {
        struct entry *next = first->next;
        release(first);
        first = next;
    }
}

/* ---- with the lock held ---- */

static struct entry **bucket_of(struct cache *cache, uint64_t hash)
{
    return &cache->buckets[hash % cache->buckets_count];
}

/* Where the entry of this key hangs, or where NULL ends its chain. */
static struct entry **find(struct cache *cache, uint64_t hash, const char *key, size_t key_length)
{
    struct entry **at = bucket_of(cache, hash);
    while (*at && ((*at)->hash != hash || (*at)->key_length != key_length ||
                   memcmp((*at)->bytes, key, key_length) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

static void leave_ring(struct entry *entry)
{
    entry->link.previous->next = entry->link.next;
    entry->link.next->previous = entry->link.previous;
}

static void enter_ring(struct cache *cache, struct entry *entry)
{
    entry->link = (struct link){.next = cache->ring.next, .previous = &cache->ring};
    entry->link.next->previous = &entry->link;
    cache->ring.next = &entry->link;
}

static void insert(struct cache *cache, struct entry *entry)
{
    struct entry **bucket = bucket_of(cache, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    enter_ring(cache, entry);
    cache->used_bytes += entry_bytes(entry->key_length, entry->value_length);
}

/* Take out what hangs at `at`, and put it on a list for release_all(). */
static void drop(struct cache *cache, struct entry **at, struct entry **dropped)
{
    struct entry *entry = *at;
    *at = entry->next;
    leave_ring(entry);
    cache->used_bytes -= entry_bytes(entry->key_length, entry->value_length);
    entry->next = *dropped;
    *dropped = entry;
}

static void drop_oldest(struct cache *cache, struct entry **dropped)
{
    const struct entry *oldest = (const struct entry *)cache->ring.previous;
    drop(cache, find(cache, oldest->hash, oldest->bytes, oldest->key_length), dropped);
}

/* ---- the doors ---- */

/* The entry, which the caller must release, or NULL. */
static struct entry *hold(struct cache *cache, const char *key, size_t key_length)
{
    struct entry *dropped = NULL;
    uint64_t hash = siphash(cache->secret, key, key_length);
    int64_t now_us = clock_monotonic_us();

    pthread_mutex_lock(&cache->lock);
    struct entry **at = find(cache, hash, key, key_length);
    struct entry *entry = *at;
    if (entry && entry->expires_us <= now_us) {
        drop(cache, at, &dropped);
        entry = NULL;
    }
    if (entry) {
        atomic_fetch_add(&entry->holders, 1);
        leave_ring(entry);
        enter_ring(cache, entry);
    }
    pthread_mutex_unlock(&cache->lock);
    release_all(dropped);
    return entry;
}

bool cache_get(struct cache *cache, const char *key, size_t key_length, struct buf *ret_value)
{
    struct entry *entry = cache ? hold(cache, key, key_length) : NULL;
    if (!entry) {
        return false;
    }
    bool fits = entry->value_length <= ret_value->max_bytes;
    if (fits) {
        buf_reset(ret_value);
        buf_append(ret_value, entry->bytes + entry->key_length, entry->value_length);
    }
    release(entry);
    return fits;
}

void cache_put(struct cache *cache, const char *key, size_t key_length, const char *value,
               size_t value_length, int64_t ttl_ms)
{
    if (!cache || ttl_ms <= 0 || key_length > cache->largest_bytes || value_length > cache->largest_bytes) {
        return;
    }
    size_t bytes = entry_bytes(key_length, value_length);
    if (bytes > cache->room_bytes) {
        return;
    }
    struct entry *dropped = NULL;
    struct entry *entry = entry_new(key, key_length, value, value_length);
    entry->hash = siphash(cache->secret, key, key_length);
    entry->expires_us = clock_monotonic_us() + ttl_ms * 1000;

    pthread_mutex_lock(&cache->lock);
    struct entry **at = find(cache, entry->hash, key, key_length);
    if (*at) {
        drop(cache, at, &dropped);
    }
    while (cache->used_bytes + bytes > cache->room_bytes) {
        drop_oldest(cache, &dropped);
    }
    insert(cache, entry);
    pthread_mutex_unlock(&cache->lock);
    release_all(dropped);
}

void cache_free(struct cache *cache)
{
    if (!cache) {
        return;
    }
    struct entry *dropped = NULL;
    while (cache->used_bytes > 0) {
        drop_oldest(cache, &dropped);
    }
    release_all(dropped);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
