/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After a time-out hiredis' context is in error and later replies may belong to earlier commands,
 * so any failure drops the connection. A new one gets its time-out, AUTH and SELECT again.
 *
 * A process has one redis_url, so what one thread learns serves all: a failure begins a backoff for the
 * whole process, in which nobody asks. When it is over one thread looks whether Redis is back, and the
 * others do without until it knows. So a Redis that takes connections and says nothing costs a time-out
 * to those that waited when it fell silent, and from then on to one request in a second, not to each.
 * Only an answer ends this: such a Redis can still be connected to.
 */
#include "store/redis.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,
    WAITS_MAX = 4, /* time-outs that a command may take at the most: connect, AUTH, SELECT, itself */
};

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
    int64_t seen_us; /* retry_at_us as it was, or as this thread made it, when its command began */
};

static _Atomic int64_t retry_at_us; /* 0 while Redis answers */
static _Atomic int64_t backoff_ms;

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

static void reply_cleanup(redisReply **reply)
{
    freeReplyObject(*reply);
}

#define REPLY_AUTO __attribute__((cleanup(reply_cleanup))) redisReply *

/* ---- whether it is there ---- */

/* Whether to ask now. While Redis is away one thread is told so each time that the backoff is over. */
static bool is_due(struct redis *redis)
{
    int64_t now_us = clock_monotonic_us();
    redis->seen_us = atomic_load(&retry_at_us);
    if (redis->seen_us == 0) {
        return true;
    }
    int64_t until_us = now_us + WAITS_MAX * redis->timeout_ms * 1000; /* the others keep out meanwhile */
    if (now_us < redis->seen_us || !atomic_compare_exchange_strong(&retry_at_us, &redis->seen_us, until_us)) {
        return false;
    }
    redis->seen_us = until_us;
    return true;
}

static void disconnect(struct redis *redis)
{
    redisFree(redis->context);
    redis->context = NULL;
}

/* Several threads may fail at once; the first one's word counts, so that the backoff doubles once. */
static enum err note_away(struct redis *redis, const char *why)
{
    bool is_news = redis->seen_us == 0;
    int64_t next_ms = is_news ? BACKOFF_MIN_MS : 2 * atomic_load(&backoff_ms);
    next_ms = next_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : next_ms;
    if (atomic_compare_exchange_strong(&retry_at_us, &redis->seen_us,
                                       clock_monotonic_us() + next_ms * 1000)) {
        atomic_store(&backoff_ms, next_ms);
        if (is_news) {
            log_warn("Redis is away: %s", why);
        }
    }
    disconnect(redis);
    return ERR_UNAVAILABLE;
}

static void note_answer(struct redis *redis)
{
    if (redis->seen_us && atomic_compare_exchange_strong(&retry_at_us, &redis->seen_us, 0)) {
        log_info("Redis is back");
    }
}

/* ---- connecting ---- */

/* One command whose reply only matters as yes or no. */
static bool succeeds(struct redis *redis, int argc, const char **argv)
{
    REPLY_AUTO reply = redisCommandArgv(redis->context, argc, argv, NULL);
    return reply && reply->type != REDIS_REPLY_ERROR;
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

static enum err open_connection(struct redis *redis)
{
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
        return note_away(redis, redis->context->err
                                    ? redis->context->errstr
                                    : "it refuses the user, password or database of redis_url");
    }
    return ERR_OK;
}

/* ---- commands ---- */

enum { WORDS_MAX = 8, SCRIPT_WORDS = 4 /* EVALSHA hash 1 key */, NUMBERS_MAX = 4 };

/* A command's words, which are bytes; there is room for as many as whoever makes it says. */
struct command {
    const char **words;
    size_t *lengths;
    int count;
};

#define COMMAND(name, most)         \
    const char *name##_words[most]; \
    size_t name##_lengths[most];    \
    struct command name = {name##_words, name##_lengths, 0}

static void add_word(struct command *command, const char *word, size_t length)
{
    command->words[command->count] = word;
    command->lengths[command->count++] = length;
}

static void add_text(struct command *command, const char *word)
{
    add_word(command, word, strlen(word));
}

static redisReply *exchange(struct redis *redis, struct command *command)
{
    return redisCommandArgv(redis->context, command->count, command->words, command->lengths);
}

/* Whether the other side closed the connection, rather than kept silent. */
static bool was_closed(const redisContext *context, int error)
{
    return context->err == REDIS_ERR_EOF ||
           (context->err == REDIS_ERR_IO && (error == EPIPE || error == ECONNRESET));
}

/* It was started anew, and keeps scripts in memory only; otherwise it is well. */
static bool lacks_script(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

/* Send a command and wait for the reply. An error is a reply, but no sign that Redis can be used. */
static enum err ask(struct redis *redis, struct command *command, redisReply **ret_reply)
{
    redisReply *reply = NULL;
    if (!redis_configured(redis) || !is_due(redis)) {
        return ERR_UNAVAILABLE;
    }
    if (redis->context) {
        reply = exchange(redis, command);
        if (!reply && was_closed(redis->context, errno)) {
            disconnect(redis); /* it lay idle over a restart; a new one tells the truth */
        }
    }
    if (!redis->context) {
        enum err e = open_connection(redis);
        if (e) {
            return e;
        }
        reply = exchange(redis, command);
    }
    if (!reply) {
        return note_away(redis, redis->context->errstr);
    }
    if (reply->type != REDIS_REPLY_ERROR || lacks_script(reply)) {
        note_answer(redis);
    }
    *ret_reply = reply;
    return ERR_OK;
}

enum err redis_ping(struct redis *redis)
{
    COMMAND(command, WORDS_MAX);
    REPLY_AUTO reply = NULL;
    add_text(&command, "PING");
    enum err e = ask(redis, &command, &reply);
    if (!e && reply->type == REDIS_REPLY_ERROR) {
        e = note_away(redis, reply->str); /* it is loading, or wants a password by now */
    }
    return e;
}

enum err redis_get(struct redis *redis, const char *key, size_t key_length, struct buf *ret_value)
{
    COMMAND(command, WORDS_MAX);
    REPLY_AUTO reply = NULL;
    char last[24];
    /* Not GET: of a value larger than is wanted only so much is sent that its size shows. The range of a
     * key that is not there is empty. */
    snprintf(last, sizeof(last), "%zu", ret_value->max_bytes);
    add_text(&command, "GETRANGE");
    add_word(&command, key, key_length);
    add_text(&command, "0");
    add_text(&command, last);
    enum err e = ask(redis, &command, &reply);
    if (e) {
        return e;
    }
    if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->len > ret_value->max_bytes) {
        return ERR_NOT_FOUND;
    }
    buf_reset(ret_value);
    buf_append(ret_value, reply->str, reply->len);
    return ERR_OK;
}

enum err redis_set(struct redis *redis, const char *key, size_t key_length, const char *value,
                   size_t value_length, int64_t ttl_ms)
{
    COMMAND(command, WORDS_MAX);
    REPLY_AUTO reply = NULL;
    char ttl[24];
    snprintf(ttl, sizeof(ttl), "%" PRId64, ttl_ms);
    add_text(&command, "SET");
    add_word(&command, key, key_length);
    add_word(&command, value, value_length);
    add_text(&command, "PX");
    add_text(&command, ttl);
    enum err e = ask(redis, &command, &reply);
    return !e && reply->type == REDIS_REPLY_ERROR ? ERR_UNAVAILABLE : e;
}

/* ---- scripts ---- */

static pthread_mutex_t hashing = PTHREAD_MUTEX_INITIALIZER;

/* Redis knows scripts by the SHA-1 of their text; nothing rests on its strength. */
static bool hash_script(struct redis_script *script, char ret_sha1[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    pthread_mutex_lock(&hashing);
    if (!script->sha1[0] &&
        EVP_Digest(script->text, strlen(script->text), digest, &length, EVP_sha1(), NULL) == 1) {
        crypto_hex(digest, length, script->sha1);
    }
    memcpy(ret_sha1, script->sha1, sizeof(script->sha1));
    pthread_mutex_unlock(&hashing);
    return ret_sha1[0] != '\0';
}

/* Words behind a script's key. */
struct arguments {
    const char *const *words;
    const size_t *lengths;
    size_t count;
};

static enum err run_by(struct redis *redis, const char *verb, const char *script, const char *key,
                       const struct arguments *arguments, redisReply **ret_reply)
{
    COMMAND(command, SCRIPT_WORDS + REDIS_ARGUMENTS_MAX);
    add_text(&command, verb);
    add_text(&command, script);
    add_text(&command, "1");
    add_text(&command, key);
    for (size_t i = 0; i < arguments->count; i++) {
        add_word(&command, arguments->words[i], arguments->lengths[i]);
    }
    return ask(redis, &command, ret_reply);
}

static enum err run(struct redis *redis, struct redis_script *script, const char *key,
                    const struct arguments *arguments, redisReply **ret_reply)
{
    char sha1[41];
    if (arguments->count > REDIS_ARGUMENTS_MAX || !hash_script(script, sha1)) {
        return ERR_INTERNAL;
    }
    enum err e = run_by(redis, "EVALSHA", sha1, key, arguments, ret_reply);
    if (!e && lacks_script(*ret_reply)) {
        freeReplyObject(*ret_reply);
        *ret_reply = NULL;
        e = run_by(redis, "EVAL", script->text, key, arguments, ret_reply);
    }
    return e;
}

enum err redis_run(struct redis *redis, struct redis_script *script, const char *key, const int64_t *args,
                   size_t count, int64_t *ret_numbers, size_t ret_count)
{
    char numbers[NUMBERS_MAX][24];
    const char *words[NUMBERS_MAX];
    size_t lengths[NUMBERS_MAX];
    REPLY_AUTO reply = NULL;
    if (count > NUMBERS_MAX) {
        return ERR_INTERNAL;
    }
    for (size_t i = 0; i < count; i++) {
        lengths[i] = (size_t)snprintf(numbers[i], sizeof(numbers[i]), "%" PRId64, args[i]);
        words[i] = numbers[i];
    }
    const struct arguments arguments = {words, lengths, count};
    enum err e = run(redis, script, key, &arguments, &reply);
    if (e) {
        return e;
    }
    bool fits = reply->type == REDIS_REPLY_ARRAY && reply->elements == ret_count;
    for (size_t i = 0; fits && i < ret_count; i++) {
        fits = reply->element[i]->type == REDIS_REPLY_INTEGER;
    }
    for (size_t i = 0; fits && i < ret_count; i++) {
        ret_numbers[i] = reply->element[i]->integer;
    }
    return fits ? ERR_OK : ERR_UNAVAILABLE;
}

enum err redis_run_texts(struct redis *redis, struct redis_script *script, const char *key,
                         const char *const *texts, size_t count, redis_text_taker *take, void *argument)
{
    size_t lengths[REDIS_ARGUMENTS_MAX];
    REPLY_AUTO reply = NULL;
    for (size_t i = 0; i < count && i < REDIS_ARGUMENTS_MAX; i++) {
        lengths[i] = strlen(texts[i]);
    }
    const struct arguments arguments = {texts, lengths, count};
    enum err e = run(redis, script, key, &arguments, &reply);
    if (e) {
        return e;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        log_warn("Redis refuses a script: %s", reply->str);
    }
    if (reply->type != REDIS_REPLY_ARRAY) {
        return ERR_UNAVAILABLE;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        const redisReply *element = reply->element[i];
        take(argument, i, element->type == REDIS_REPLY_STRING ? element->str : NULL);
    }
    return ERR_OK;
}
