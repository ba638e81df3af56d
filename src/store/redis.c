/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a time-out hiredis' context is in error and later replies may belong to earlier commands,
 * so any failure drops the connection. A new one gets its time-out, AUTH and SELECT again. While
 * Redis is away attempts are spaced by a backoff, so that each request does not wait for it anew.
 */
#include "store/redis.h"

#include <hiredis/hiredis.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 1000 };

struct redis {
    char *text; /* the url, cut into the parts below */
    const char *socket_path;
    const char *host;
    int port;
    const char *user;
    const char *password;
    int database;
    int64_t timeout_ms;
    redisContext *context;
    int64_t retry_at_us;
    int64_t backoff_ms;
};

static atomic_bool away_logged;

static bool take_number(const char *text, long max, int *ret_value)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < 0 || value > max) {
        return false;
    }
    *ret_value = (int)value;
    return true;
}

/* Cut redis->text. NULL on success, else what is wrong, without the url: it may hold a password. */
static const char *parse_url(struct redis *redis)
{
    char *text = redis->text;
    if (strncmp(text, "unix:", 5) == 0) {
        redis->socket_path = strncmp(text + 5, "//", 2) == 0 ? text + 7 : text + 5;
        char *query = strchr(redis->socket_path, '?');
        if (query) {
            *query = '\0';
            if (strncmp(query + 1, "db=", 3) != 0 || !take_number(query + 4, 1000000, &redis->database)) {
                return "after the socket only ?db=NUMBER may follow";
            }
        }
        return redis->socket_path[0] == '/' ? NULL : "the socket's path must start with a slash";
    }
    if (strncmp(text, "redis://", 8) != 0) {
        return "must start with redis:// or unix:";
    }
    text += 8;
    char *at = strrchr(text, '@');
    if (at) {
        *at = '\0';
        char *colon = strchr(text, ':');
        if (!colon) {
            return "before the @ user:password is expected";
        }
        *colon = '\0';
        redis->user = *text ? text : NULL;
        redis->password = colon + 1;
        text = at + 1;
    }
    char *slash = strchr(text, '/');
    if (slash) {
        *slash = '\0';
        if (slash[1] && !take_number(slash + 1, 1000000, &redis->database)) {
            return "the database must be a number";
        }
    }
    redis->port = 6379;
    char *colon = strrchr(text, ':');
    if (colon) {
        *colon = '\0';
        if (!take_number(colon + 1, 65535, &redis->port) || redis->port == 0) {
            return "the port must be a number from 1 to 65535";
        }
    }
    redis->host = text;
    return *text ? NULL : "the host is missing";
}

bool redis_url_valid(const char *url, const char **ret_reason)
{
    struct redis redis = {.text = mem_strdup(url)};
    const char *reason = *url ? parse_url(&redis) : NULL;
    free(redis.text);
    if (reason) {
        *ret_reason = reason;
    }
    return !reason;
}

struct redis *redis_new(const char *url, int64_t timeout_ms)
{
    struct redis *redis = mem_zalloc(1, sizeof(*redis));
    redis->text = mem_strdup(url);
    redis->timeout_ms = timeout_ms;
    if (*url && parse_url(redis) != NULL) {
        redis->socket_path = redis->host = NULL;
    }
    return redis;
}

void redis_free(struct redis *redis)
{
    if (redis) {
        redisFree(redis->context);
        free(redis->text);
        free(redis);
    }
}

bool redis_configured(const struct redis *redis)
{
    return redis->socket_path || redis->host;
}

static enum err note_away(struct redis *redis, const char *why)
{
    if (!atomic_exchange(&away_logged, true)) {
        log_warn("Redis is away: %s", why);
    }
    redisFree(redis->context);
    redis->context = NULL;
    int64_t backoff_ms = redis->backoff_ms ? redis->backoff_ms * 2 : BACKOFF_MIN_MS;
    redis->backoff_ms = backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms;
    redis->retry_at_us = clock_monotonic_us() + redis->backoff_ms * 1000;
    return ERR_UNAVAILABLE;
}

/* One command whose reply only matters as yes or no. */
static bool succeeds(struct redis *redis, int argc, const char **argv)
{
    redisReply *reply = redisCommandArgv(redis->context, argc, argv, NULL);
    bool ok = reply && reply->type != REDIS_REPLY_ERROR;
    freeReplyObject(reply);
    return ok;
}

static bool log_in(struct redis *redis)
{
    const char *with_user[] = {"AUTH", redis->user, redis->password};
    const char *without_user[] = {"AUTH", redis->password};
    if (!redis->password) {
        return true;
    }
    return redis->user ? succeeds(redis, 3, with_user) : succeeds(redis, 2, without_user);
}

static bool select_database(struct redis *redis)
{
    char number[16];
    snprintf(number, sizeof(number), "%d", redis->database);
    const char *command[] = {"SELECT", number};
    return redis->database == 0 || succeeds(redis, 2, command);
}

static enum err connect_when_due(struct redis *redis)
{
    if (redis->context) {
        return ERR_OK;
    }
    if (!redis_configured(redis) || clock_monotonic_us() < redis->retry_at_us) {
        return ERR_UNAVAILABLE;
    }
    struct timeval limit = {.tv_sec = redis->timeout_ms / 1000, .tv_usec = (redis->timeout_ms % 1000) * 1000};
    redis->context = redis->socket_path ? redisConnectUnixWithTimeout(redis->socket_path, limit)
                                        : redisConnectWithTimeout(redis->host, redis->port, limit);
    if (!redis->context || redis->context->err) {
        return note_away(redis, redis->context ? redis->context->errstr : "out of memory");
    }
    if (redisSetTimeout(redis->context, limit) != REDIS_OK) {
        return note_away(redis, "cannot set a time-out");
    }
    if (!log_in(redis) || !select_database(redis)) {
        return note_away(redis, "it refuses the user, password or database of redis_url");
    }
    redis->backoff_ms = 0;
    return ERR_OK;
}

enum err redis_ping(struct redis *redis)
{
    const char *command[] = {"PING"};
    enum err e = connect_when_due(redis);
    if (e) {
        return e;
    }
    if (!succeeds(redis, 1, command)) {
        /* A connection that lay idle over a restart fails once; a new one tells the truth. */
        redisFree(redis->context);
        redis->context = NULL;
        e = connect_when_due(redis);
        if (e) {
            return e;
        }
        if (!succeeds(redis, 1, command)) {
            return note_away(redis, "it does not answer PING");
        }
    }
    if (atomic_exchange(&away_logged, false)) {
        log_info("Redis is back");
    }
    return ERR_OK;
}
