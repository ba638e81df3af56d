/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Redis connection, owned by one thread. Redis is an accelerator: a caller treats
 * ERR_UNAVAILABLE as "do without" and never as a failure of its own.
 */
#ifndef TALLYGATE_STORE_REDIS_H
#define TALLYGATE_STORE_REDIS_H

#include <stdbool.h>
#include <stdint.h>

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

#endif
