/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that may be forgotten at any time, for all threads of a process. It takes no more memory
 * than it was given at birth, counts what it spends on keeping as well, and makes room by
 * dropping what was used least lately. What has expired is never given out.
 *
 * Keys and values are bytes. A key is kept and compared whole: whoever shares a cache among tenants
 * puts the tenant into the key, and no collision of hashes can show one the value of another.
 */
#ifndef TALLYGATE_BASE_CACHE_H
#define TALLYGATE_BASE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct cache;

/* A NULL cache is one that keeps nothing. */
struct cache *cache_new(size_t max_bytes);
void cache_free(struct cache *cache);

/* True when there is a value that has not expired and fits; it replaces what is in ret_value. */
bool cache_get(struct cache *cache, const char *key, size_t key_length, struct buf *ret_value);
/* Keep a copy for ttl_ms from now, in place of what is there under the key. Nothing is kept when ttl_ms
 * is not positive, or of a value (or key) of more than an eighth of the cache: one answer must
 * not drive out all others. */
void cache_put(struct cache *cache, const char *key, size_t key_length, const char *value,
               size_t value_length, int64_t ttl_ms);

#endif
