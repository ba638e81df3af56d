/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in Redis is not ours alone: it may be shared with other installations, be written by an older
 * version of the program, or hold what somebody put there. So a value begins with the whole key, of which the
 * name in Redis is only a digest, and counts only when that is the key that was asked for and what follows is
 * JSON. The key holds the installation's id and FORM. It is copied into the process for a short time, because
 * how old it is there is not known here. How much may be there is bounded: only answers that are small, and
 * of which there are not as many as clients like. What is restored from a backup counts late events anew, so
 * Redis is to be emptied then.
 *
 * Several threads that miss the same answer at once each make it; what they make is the same.
 */
#include "analytics/answer.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/cache.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/sparse.h"

enum {
    FINISHED_MS = 3600 * 1000,
    COPIED_MS = 60 * 1000,
    REDIS_TEXT_MAX = 64 * 1024,
    VERSION_MAX = 100,
    FORM = 1, /* grows when an answer gets other members */
};

static const struct pg_statement LATE = {
    "answer_late", "SELECT (SELECT id::text FROM installation) || '#' || "
                   "(SELECT coalesce(sum(events), 0)::text FROM late_events WHERE workspace_id = $1)"};

/* ---- keys ---- */

void answer_key_init(struct answer_key *key, const struct request *request, const char *route)
{
    *key = (struct answer_key){.arena = request->arena, .text = route};
    answer_key_int(key, "ws", request->principal.workspace_id);
}

void answer_key_int(struct answer_key *key, const char *name, int64_t value)
{
    key->text = arena_printf(key->arena, "%s|%s=%" PRId64, key->text, name, value);
}

void answer_key_text(struct answer_key *key, const char *name, const char *text_or_null)
{
    /* With its length before it, a text may hold what would else part it from the next. */
    key->text = text_or_null ? arena_printf(key->arena, "%s|%s=%zu:%s", key->text, name, strlen(text_or_null),
                                            text_or_null)
                             : arena_printf(key->arena, "%s|%s=", key->text, name);
}

void answer_key_period(struct answer_key *key, const struct period *period)
{
    answer_key_text(key, "start", period->start_date);
    answer_key_int(key, "days", period->days);
}

/* ---- which installation, and how many events came late ---- */

static enum err ask_version(struct request *request, const struct answer_key *key, const char **ret_version)
{
    struct services *services = request->services;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    int64_t asked_us = clock_monotonic_us();
    pg_int(&params, request->principal.workspace_id);
    enum err e = pg_query(services->pg, &LATE, &params, &result);
    if (e) {
        return e;
    }
    *ret_version = arena_strdup(request->arena, pg_get_text(result, 0, 0));
    int64_t ttl_ms = services->config->cache_unfinished_ms - (clock_monotonic_us() - asked_us) / 1000;
    if (ttl_ms > 0) {
        cache_put(services->cache, key->text, strlen(key->text), *ret_version, strlen(*ret_version), ttl_ms);
    }
    return ERR_OK;
}

/* Read before the answer is made, so that an event which comes meanwhile makes what is kept a version too
 * old, and never one too new. */
static enum err read_version(struct request *request, const char **ret_version)
{
    struct answer_key key;
    struct buf kept;
    answer_key_init(&key, request, "late");
    buf_init(&kept, VERSION_MAX);
    bool found = cache_get(request->services->cache, key.text, strlen(key.text), &kept);
    if (found) {
        *ret_version = arena_strdup(request->arena, buf_text(&kept));
    }
    buf_free(&kept);
    return found ? ERR_OK : ask_version(request, &key, ret_version);
}

/* ---- where an answer is kept ---- */

struct place {
    const char *key; /* with the version */
    size_t key_length;
    const char *redis_key; /* NULL: not in Redis */
    int64_t ttl_ms;        /* 0: nowhere */
};

static const char *name_in_redis(struct request *request, const char *key)
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char text[2 * CRYPTO_SHA256_SIZE];
    crypto_sha256(key, strlen(key), digest);
    crypto_base64url(digest, sizeof(digest), text);
    return arena_printf(request->arena, "tallygate:answer:%d:%" PRId64 ":%s", FORM,
                        request->principal.workspace_id, text);
}

static enum err find_place(struct request *request, const struct answer_question *question,
                           struct place *ret_place)
{
    struct place place = {.key = question->key->text,
                          .ttl_ms = request->services->config->cache_unfinished_ms};
    if (question->finished) {
        const char *version;
        enum err e = read_version(request, &version);
        if (e) {
            return e;
        }
        place.key = arena_printf(request->arena, "%s#%s", place.key, version);
        place.redis_key = question->countless ? NULL : name_in_redis(request, place.key);
        place.ttl_ms = FINISHED_MS;
    }
    place.key_length = strlen(place.key);
    *ret_place = place;
    return ERR_OK;
}

/* The key, NUL, the text. */
static bool find_in_redis(struct redis *redis, const struct place *place, struct buf *ret_text)
{
    struct buf stored;
    struct json_fault fault;
    size_t head = place->key_length + 1;
    buf_init(&stored, head + REDIS_TEXT_MAX);
    bool found = redis_get(redis, place->redis_key, strlen(place->redis_key), &stored) == ERR_OK &&
                 stored.length > head && memcmp(stored.data, place->key, head) == 0 &&
                 json_scan(stored.data + head, stored.length - head, &fault);
    if (found) {
        buf_reset(ret_text);
        buf_append(ret_text, stored.data + head, stored.length - head);
    }
    buf_free(&stored);
    return found;
}

static void keep_in_redis(struct redis *redis, const struct place *place, const struct buf *text,
                          int64_t ttl_ms)
{
    struct buf stored;
    size_t head = place->key_length + 1;
    if (text->length > REDIS_TEXT_MAX) {
        return;
    }
    buf_init(&stored, head + REDIS_TEXT_MAX);
    buf_append(&stored, place->key, head);
    buf_append(&stored, buf_text(text), text->length);
    /* Without Redis the next one makes it anew. */
    (void)redis_set(redis, place->redis_key, strlen(place->redis_key), stored.data, stored.length, ttl_ms);
    buf_free(&stored);
}

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static bool find(struct services *services, const struct place *place, struct buf *ret_text)
{
    if (cache_get(services->cache, place->key, place->key_length, ret_text)) {
        count(&services->metrics->answer_cache_hits_process);
        return true;
    }
    if (!place->redis_key || !find_in_redis(services->redis, place, ret_text)) {
        return false;
    }
    count(&services->metrics->answer_cache_hits_redis);
    cache_put(services->cache, place->key, place->key_length, ret_text->data, ret_text->length, COPIED_MS);
    return true;
}

/* An answer grows old from the moment on when the database was asked, which may be slow. */
static void keep(struct services *services, const struct place *place, const struct buf *text,
                 int64_t asked_us)
{
    int64_t ttl_ms = place->ttl_ms - (clock_monotonic_us() - asked_us) / 1000;
    if (ttl_ms <= 0) {
        return;
    }
    cache_put(services->cache, place->key, place->key_length, buf_text(text), text->length, ttl_ms);
    if (place->redis_key) {
        keep_in_redis(services->redis, place, text, ttl_ms);
    }
}

/* ---- answering ---- */

/* Whether the request's Cache-Control asks for a new answer. Values in quotes are not seen as such: at
 * worst an answer is made that was there. */
static bool wants_new(const struct request *request)
{
    enum { LENGTH = 8 }; /* of both directives */
    const char *at = request_variable(request, "HTTP_CACHE_CONTROL");
    while (at && *at) {
        at += strspn(at, " \t,");
        if (strcspn(at, " \t,") == LENGTH &&
            (strncasecmp(at, "no-cache", LENGTH) == 0 || strncasecmp(at, "no-store", LENGTH) == 0)) {
            return true;
        }
        at += strcspn(at, ",");
    }
    return false;
}

static bool answer_kept(struct services *services, const struct place *place, struct response *response)
{
    struct buf text;
    buf_init(&text, RESPONSE_BODY_MAX);
    bool found = find(services, place, &text);
    if (found) {
        response_text(response, 200, "application/json", buf_text(&text), text.length);
    }
    buf_free(&text);
    return found;
}

struct building {
    struct request *request;
    const struct answer_question *question;
    struct json_object **ret_answer;
};

static enum err build_in_snapshot(struct pg *pg, void *argument)
{
    (void)pg;
    const struct building *building = argument;
    return building->question->build(building->request, building->question->argument, building->ret_answer);
}

static enum err answer_new(struct request *request, const struct answer_question *question,
                           const struct place *place, struct response *response)
{
    JSON_AUTO answer = NULL;
    int64_t asked_us = clock_monotonic_us();
    struct building building = {request, question, &answer};
    struct pg *pg = request->services->pg;
    enum err e =
        question->several ? pg_snapshot(pg, build_in_snapshot, &building) : build_in_snapshot(pg, &building);
    if (e) {
        return e;
    }
    response_json(response, 200, answer);
    count(&request->services->metrics->answer_cache_misses);
    if (response->body->overflow) {
        return problem_say(&request->problem, ERR_INVALID,
                           "The answer is larger than %d bytes: ask for fewer days or a lower limit.",
                           RESPONSE_BODY_MAX);
    }
    keep(request->services, place, response->body, asked_us);
    return ERR_OK;
}

enum err answer_cached(struct request *request, struct response *response,
                       const struct answer_question *question)
{
    struct place place;
    enum err e = find_place(request, question, &place);
    if (e) {
        return e;
    }
    bool off = place.ttl_ms == 0;
    bool unwanted = !off && wants_new(request);
    bool found = !off && !unwanted && answer_kept(request->services, &place, response);

    e = found ? ERR_OK : answer_new(request, question, &place, response);
    if (!e && question->fields) {
        e = sparse_answer(request, response, question->fields);
    }
    if (!e) {
        response_header(response, "Cache-Status",
                        found      ? "tallygate; hit"
                        : off      ? "tallygate; fwd=bypass"
                        : unwanted ? "tallygate; fwd=request"
                                   : "tallygate; fwd=miss");
    }
    return e;
}
