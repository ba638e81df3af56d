/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/token_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"

/* 4096 tokens in some 400 KiB. A set's lock is held for a comparison and a copy. */
enum { SETS = 1024, WAYS = 4, LOCKS = 64 };

struct entry {
    uint8_t digest[CRYPTO_SHA256_SIZE];
    uint64_t key_generation; /* 0: free */
    uint64_t used;           /* the cache's count of uses when it was used last */
    struct token_claims claims;
};

struct token_cache {
    struct keyring *keyring;
    struct metrics *metrics;
    pthread_mutex_t locks[LOCKS]; /* each over the sets whose number has its remainder */
    _Atomic uint64_t uses;
    struct entry sets[SETS][WAYS];
};

struct token_cache *token_cache_new(struct keyring *keyring, struct metrics *metrics)
{
    struct token_cache *cache = mem_zalloc(1, sizeof(*cache));
    cache->keyring = keyring;
    cache->metrics = metrics;
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&cache->locks[i], NULL);
    }
    return cache;
}

void token_cache_free(struct token_cache *cache)
{
    if (!cache) {
        return;
    }
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_destroy(&cache->locks[i]);
    }
    free(cache);
}

/* The digest is uniform, so any part of it is as good a hash as another. */
static size_t set_of(const uint8_t digest[CRYPTO_SHA256_SIZE])
{
    uint32_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return hash % SETS;
}

static bool find(struct token_cache *cache, const uint8_t digest[CRYPTO_SHA256_SIZE], uint64_t generation,
                 struct token_claims *ret_claims)
{
    size_t set = set_of(digest);
    bool found = false;
    pthread_mutex_lock(&cache->locks[set % LOCKS]);
    for (size_t i = 0; i < WAYS && !found; i++) {
        struct entry *entry = &cache->sets[set][i];
        found = entry->key_generation == generation && memcmp(entry->digest, digest, CRYPTO_SHA256_SIZE) == 0;
        if (found) {
            entry->used = atomic_fetch_add_explicit(&cache->uses, 1, memory_order_relaxed) + 1;
            *ret_claims = entry->claims;
        }
    }
    pthread_mutex_unlock(&cache->locks[set % LOCKS]);
    return found;
}

static void put(struct token_cache *cache, const uint8_t digest[CRYPTO_SHA256_SIZE], uint64_t generation,
                const struct token_claims *claims)
{
    size_t set = set_of(digest);
    pthread_mutex_lock(&cache->locks[set % LOCKS]);
    struct entry *victim = &cache->sets[set][0];
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *entry = &cache->sets[set][i];
        bool stale = entry->key_generation != generation;
        bool same = memcmp(entry->digest, digest, CRYPTO_SHA256_SIZE) == 0;
        if (stale || same || (victim->key_generation == generation && entry->used < victim->used)) {
            victim = entry;
        }
        if (stale || same) {
            break;
        }
    }
    memcpy(victim->digest, digest, CRYPTO_SHA256_SIZE);
    victim->key_generation = generation;
    victim->used = atomic_fetch_add_explicit(&cache->uses, 1, memory_order_relaxed) + 1;
    victim->claims = *claims;
    pthread_mutex_unlock(&cache->locks[set % LOCKS]);
}

enum err token_cache_verify(struct token_cache *cache, const struct config *config, const char *token,
                            int64_t now_s, struct principal *ret_principal, const char **ret_reason)
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    struct token_claims claims;

    size_t length = strnlen(token, TOKEN_MAX_BYTES + 1);
    /* Read before the keys are: if they change meanwhile, the entry is void at once. */
    uint64_t generation = keyring_generation(cache->keyring);
    crypto_sha256(token, length, digest);
    if (generation && length <= TOKEN_MAX_BYTES && find(cache, digest, generation, &claims)) {
        atomic_fetch_add_explicit(&cache->metrics->token_cache_hits, 1, memory_order_relaxed);
        *ret_reason = token_claims_outside(&claims, now_s);
        if (*ret_reason) {
            return ERR_UNAUTHENTICATED;
        }
        *ret_principal = claims.principal;
        return ERR_OK;
    }
    atomic_fetch_add_explicit(&cache->metrics->token_cache_misses, 1, memory_order_relaxed);
    enum err e = token_verify(cache->keyring, config, token, now_s, &claims, ret_reason);
    if (!e) {
        put(cache, digest, generation, &claims);
        *ret_principal = claims.principal;
    }
    return e;
}
