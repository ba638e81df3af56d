/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Redis connection, owned by one thread. Redis is an accelerator: a caller treats
 * ERR_UNAVAILABLE as "do without" and never as a failure of its own. While Redis is away, for all
 * threads of the process together, calls come back at once.
 */
#ifndef TALLYGATE_STORE_REDIS_H
#define TALLYGATE_STORE_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct redis;

/* Whether `url` is empty or one that redis_new() takes; else *ret_reason says what is wrong. */
bool redis_url_valid(const char *url, const char **ret_reason);
/* Nothing is connected yet; `url` is copied. An empty url gives a handle that is always away. */
struct redis *redis_new(const char *url, int64_t timeout_ms);
void redis_free(struct redis *redis);
/* Whether a Redis is configured at all. */
bool redis_configured(const struct redis *redis);
/* Ask whether it answers. */
enum err redis_ping(struct redis *redis);

/* Keys and values are bytes; the caller begins its keys with a word that no one else uses. */

/* What is in ret_value is replaced. ERR_NOT_FOUND when there is no such key, when it holds nothing, no
 * string or more than the buffer takes, and when Redis refuses. */
enum err redis_get(struct redis *redis, const char *key, size_t key_length, struct buf *ret_value);
/* Store for ttl_ms, which must be positive. ERR_UNAVAILABLE also when Redis refuses, as a full one does. */
enum err redis_set(struct redis *redis, const char *key, size_t key_length, const char *value,
                   size_t value_length, int64_t ttl_ms);

/* A script in Lua. The hash by which Redis knows it is filled in at its first use. Define it static. */
struct redis_script {
    const char *text;
    char sha1[41];
};

/* Run a script with one key and numbers, whose answer is `ret_count` numbers. ERR_UNAVAILABLE also when it
 * answers anything else, as a full Redis does. */
enum err redis_run(struct redis *redis, struct redis_script *script, const char *key, const int64_t *args,
                   size_t count, int64_t *ret_numbers, size_t ret_count);

enum { REDIS_ARGUMENTS_MAX = 256 };
/* The i-th element of an answer; NULL when it is no text. */
typedef void redis_text_taker(void *argument, size_t i, const char *text);
/* The same with at most REDIS_ARGUMENTS_MAX texts, whose answer is a list of texts. */
enum err redis_run_texts(struct redis *redis, struct redis_script *script, const char *key,
                         const char *const *texts, size_t count, redis_text_taker *take, void *argument);

#endif
