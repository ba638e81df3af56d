/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/ratelimit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "http/router.h"
#include "store/redis.h"

enum {
    SETS = 512,
    WAYS = 4,
    LOCKS = 64,
    DIGEST_SIZE = 16,
    LEASE_PART = 100,              /* what part of a bucket is taken at once */
    LEASE_LASTS_US = 60 * 1000000, /* and how long it may be used */
    ADMIN_LASTS_US = 60 * 1000000, /* how long we remember that somebody is an administrator */
    PLAIN_LASTS_US = 10 * 1000000, /* and that they are none */
    MINUTE_S = 60,
    HOUR_S = 3600,
    SUBJECT_SIZE = 64,
};

static const char PREFIX[] = "tallygate:rl:";
enum { REDIS_KEY_SIZE = sizeof(PREFIX) + 2 * DIGEST_SIZE };

static const char PURPOSE[] = "tallygate rate limits v1";

static const struct pg_statement IS_ADMIN = {
    "ratelimit_is_admin", "SELECT FROM users WHERE id = $1 AND role = 'admin' AND is_active"};

/* Take up to ARGV[3] requests out of the bucket KEYS[1], which holds ARGV[2] and gains one in ARGV[1] µs.
 * What is stored is when it will be full. Answers how many were taken, how many are left, in how many µs the
 * next one is due when none were, and in how many it will be full. */
static struct redis_script TAKE = {
    .text = "local now = redis.call('TIME')\n"
            "local t = now[1] * 1000000 + now[2]\n"
            "local interval, capacity, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])\n"
            "local full = math.max(tonumber(redis.call('GET', KEYS[1])) or t, t)\n"
            "local free = math.floor((t + interval * capacity - full) / interval)\n"
            "if free < 1 then return {0, 0, full - t - interval * (capacity - 1), full - t} end\n"
            "local taken = math.min(free, wanted)\n"
            "full = full + taken * interval\n"
            "redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - t) / 1000))\n"
            "return {taken, free - taken, 0, full - t}\n"};

/* A limit: `quota` requests in `window_s`. */
struct policy {
    const char *name;
    int64_t quota;
    int64_t window_s;
    int64_t capacity; /* at once */
};

struct bucket {
    uint8_t digest[DIGEST_SIZE]; /* whose; all zero: free */
    uint64_t used;
    int64_t leased;         /* requests that may be served from here */
    int64_t lease_until_us; /* monotonic, as all of these */
    int64_t left;           /* in Redis, when the lease was taken */
    int64_t full_at_us;     /* the bucket's end when we count ourselves; else when it will be full */
    int64_t blocked_until_us;
    int64_t admin_until_us;
    int64_t plain_until_us;
};

struct ratelimit {
    uint8_t key[CRYPTO_KEY_SIZE];
    pthread_mutex_t locks[LOCKS]; /* each over the sets whose number has its remainder */
    _Atomic uint64_t uses;
    struct bucket sets[SETS][WAYS];
};

struct ratelimit *ratelimit_new(const struct config *config)
{
    struct ratelimit *ratelimit = mem_zalloc(1, sizeof(*ratelimit));
    if (!crypto_derive(config->secret, config->secret_length, PURPOSE, ratelimit->key)) {
        free(ratelimit);
        return NULL;
    }
    for (size_t i = 0; i < LOCKS; i++) {
        pthread_mutex_init(&ratelimit->locks[i], NULL);
    }
    return ratelimit;
}

void ratelimit_free(struct ratelimit *ratelimit)
{
    for (size_t i = 0; ratelimit && i < LOCKS; i++) {
        pthread_mutex_destroy(&ratelimit->locks[i]);
    }
    if (ratelimit) {
        crypto_wipe(ratelimit->key, sizeof(ratelimit->key));
    }
    free(ratelimit);
}

/* ---- buckets ---- */

static size_t set_of(const uint8_t digest[DIGEST_SIZE])
{
    uint32_t hash;
    memcpy(&hash, digest, sizeof(hash));
    return hash % SETS;
}

/* The bucket of `digest`, made when it is not there, under the lock of its set. */
static struct bucket *lock_bucket(struct ratelimit *ratelimit, const uint8_t digest[DIGEST_SIZE])
{
    size_t set = set_of(digest);
    pthread_mutex_lock(&ratelimit->locks[set % LOCKS]);
    struct bucket *bucket = &ratelimit->sets[set][0];
    for (size_t i = 0; i < WAYS; i++) {
        struct bucket *other = &ratelimit->sets[set][i];
        if (memcmp(other->digest, digest, DIGEST_SIZE) == 0) {
            bucket = other;
            break;
        }
        if (other->used < bucket->used) {
            bucket = other;
        }
    }
    if (memcmp(bucket->digest, digest, DIGEST_SIZE) != 0) {
        *bucket = (struct bucket){.used = 0};
        memcpy(bucket->digest, digest, DIGEST_SIZE);
    }
    bucket->used = atomic_fetch_add_explicit(&ratelimit->uses, 1, memory_order_relaxed) + 1;
    return bucket;
}

static void unlock_bucket(struct ratelimit *ratelimit, const uint8_t digest[DIGEST_SIZE])
{
    pthread_mutex_unlock(&ratelimit->locks[set_of(digest) % LOCKS]);
}

/* What is told of a bucket. */
struct state {
    int64_t left;
    int64_t full_in_us;
    int64_t wait_us; /* 0: let in */
};

/* Serve from what was taken before, or refuse as before. False when it must be asked for. */
static bool use_lease(struct bucket *bucket, int64_t now_us, struct state *ret_state)
{
    if (bucket->blocked_until_us > now_us) {
        *ret_state = (struct state){.wait_us = bucket->blocked_until_us - now_us,
                                    .full_in_us = bucket->full_at_us - now_us};
        return true;
    }
    if (bucket->leased < 1 || bucket->lease_until_us <= now_us) {
        return false;
    }
    bucket->leased--;
    *ret_state =
        (struct state){.left = bucket->leased + bucket->left, .full_in_us = bucket->full_at_us - now_us};
    return true;
}

/* The same rule as the script's, without anybody else. */
static void count_alone(struct bucket *bucket, int64_t interval_us, int64_t capacity, int64_t now_us,
                        struct state *ret_state)
{
    int64_t full_us = bucket->full_at_us > now_us ? bucket->full_at_us : now_us;
    int64_t free = (now_us + interval_us * capacity - full_us) / interval_us;
    *ret_state = (struct state){.left = 0, .full_in_us = full_us - now_us};
    if (free < 1) {
        ret_state->wait_us = full_us - now_us - interval_us * (capacity - 1);
        return;
    }
    bucket->full_at_us = full_us + interval_us;
    ret_state->left = free - 1;
    ret_state->full_in_us = bucket->full_at_us - now_us;
}

enum { TAKEN, LEFT, WAIT, FULL, ANSWERS };

static void take_lease(struct bucket *bucket, const int64_t answers[ANSWERS], int64_t now_us,
                       struct state *ret_state)
{
    bucket->full_at_us = now_us + answers[FULL];
    bucket->left = answers[LEFT];
    bucket->leased = (bucket->lease_until_us > now_us ? bucket->leased : 0) + answers[TAKEN];
    bucket->lease_until_us = now_us + LEASE_LASTS_US;
    /* Another thread may have taken the last: those are served first. */
    bucket->blocked_until_us = bucket->leased ? 0 : now_us + answers[WAIT];
    (void)use_lease(bucket, now_us, ret_state);
}

/* ---- counting ---- */

/* What stands for a bucket in this process. */
static void name_bucket(const struct policy *policy, const char *subject, uint8_t ret_digest[DIGEST_SIZE])
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char text[SUBJECT_SIZE + 80];
    int length = snprintf(text, sizeof(text), "%s|%lld|%lld|%s", policy->name, (long long)policy->quota,
                          (long long)policy->capacity, subject);
    crypto_sha256(text, (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1, digest);
    memcpy(ret_digest, digest, DIGEST_SIZE);
}

/* And in Redis, which others may share: nothing of who it is, and nothing that another installation has. */
static void name_in_redis(const struct ratelimit *ratelimit, const uint8_t digest[DIGEST_SIZE],
                          char ret_key[REDIS_KEY_SIZE])
{
    uint8_t mac[CRYPTO_SHA256_SIZE];
    (void)crypto_hmac_sha256(ratelimit->key, digest, DIGEST_SIZE, mac);
    memcpy(ret_key, PREFIX, sizeof(PREFIX) - 1);
    crypto_hex(mac, DIGEST_SIZE, ret_key + sizeof(PREFIX) - 1);
}

static void count(struct request *request, const struct policy *policy, const uint8_t digest[DIGEST_SIZE],
                  struct state *ret_state)
{
    struct ratelimit *ratelimit = request->services->ratelimit;
    char key[REDIS_KEY_SIZE];
    int64_t answers[ANSWERS];
    int64_t interval_us = policy->window_s * USEC_PER_SEC / policy->quota;
    interval_us = interval_us > 0 ? interval_us : 1;
    int64_t lease = policy->capacity / LEASE_PART;

    bool served = use_lease(lock_bucket(ratelimit, digest), clock_monotonic_us(), ret_state);
    unlock_bucket(ratelimit, digest);
    if (served) {
        return;
    }
    name_in_redis(ratelimit, digest, key);
    const int64_t wanted[] = {interval_us, policy->capacity, lease > 0 ? lease : 1};
    enum err e = redis_run(request->services->redis, &TAKE, key, wanted, ARRAY_SIZE(wanted), answers,
                           ARRAY_SIZE(answers));
    struct bucket *bucket = lock_bucket(ratelimit, digest);
    if (e) {
        count_alone(bucket, interval_us, policy->capacity, clock_monotonic_us(), ret_state);
    } else {
        take_lease(bucket, answers, clock_monotonic_us(), ret_state);
    }
    unlock_bucket(ratelimit, digest);
}

static int64_t seconds_up(int64_t us)
{
    return us > 0 ? (us + USEC_PER_SEC - 1) / USEC_PER_SEC : 0;
}

static void add_number(struct response *response, const char *name, long long number)
{
    char text[24];
    snprintf(text, sizeof(text), "%lld", number);
    response_header(response, name, text);
}

static void add_headers(struct response *response, const struct policy *policy, const struct state *state)
{
    char text[96];
    long long quota = policy->quota, left = state->left, full_s = seconds_up(state->full_in_us);
    snprintf(text, sizeof(text), "\"%s\";q=%lld;w=%lld", policy->name, quota, (long long)policy->window_s);
    response_header(response, "RateLimit-Policy", text);
    snprintf(text, sizeof(text), "\"%s\";r=%lld;t=%lld", policy->name, left, full_s);
    response_header(response, "RateLimit", text);
    add_number(response, "X-RateLimit-Limit", quota);
    add_number(response, "X-RateLimit-Remaining", left);
    add_number(response, "X-RateLimit-Reset", (long long)(clock_now_us() / USEC_PER_SEC) + full_s);
}

static enum err apply(struct request *request, struct response *response, const struct policy *policy,
                      const struct state *state)
{
    add_headers(response, policy, state);
    if (state->wait_us <= 0) {
        return ERR_OK;
    }
    request->problem.retry_after_s = seconds_up(state->wait_us);
    atomic_fetch_add_explicit(&request->services->metrics->rate_limited, 1, memory_order_relaxed);
    return problem_say(
        &request->problem, ERR_TOO_MANY,
        "There may be %lld requests of this kind in %lld seconds. Wait for as long as Retry-After says.",
        (long long)policy->quota, (long long)policy->window_s);
}

/* ---- who, and how often ---- */

/* Whether the account has an administrator's limit, which is asked only of those who are about to be refused.
 */
static bool is_admin(struct request *request)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.user_id);
    return pg_query(request->services->pg, &IS_ADMIN, &params, &result) == ERR_OK && PQntuples(result) > 0;
}

enum rank { RANK_UNKNOWN, RANK_ADMIN, RANK_PLAIN };

static enum rank remembered_rank(struct ratelimit *ratelimit, const uint8_t digest[DIGEST_SIZE])
{
    int64_t now_us = clock_monotonic_us();
    const struct bucket *bucket = lock_bucket(ratelimit, digest);
    enum rank rank = bucket->admin_until_us > now_us   ? RANK_ADMIN
                     : bucket->plain_until_us > now_us ? RANK_PLAIN
                                                       : RANK_UNKNOWN;
    unlock_bucket(ratelimit, digest);
    return rank;
}

static void remember_rank(struct ratelimit *ratelimit, const uint8_t digest[DIGEST_SIZE], bool admin)
{
    struct bucket *bucket = lock_bucket(ratelimit, digest);
    if (admin) {
        bucket->admin_until_us = clock_monotonic_us() + ADMIN_LASTS_US;
    } else {
        bucket->plain_until_us = clock_monotonic_us() + PLAIN_LASTS_US;
    }
    unlock_bucket(ratelimit, digest);
}

static enum err apply_user(struct request *request, struct response *response, const char *subject)
{
    const struct config *config = request->services->config;
    struct ratelimit *ratelimit = request->services->ratelimit;
    const struct policy user = {"user", config->rate_user_per_hour, HOUR_S, config->rate_user_per_hour};
    const struct policy admin = {"admin", config->rate_admin_per_hour, HOUR_S, config->rate_admin_per_hour};
    uint8_t digest[DIGEST_SIZE], of_admin[DIGEST_SIZE];
    struct state state;
    if (user.quota == 0) {
        return ERR_OK;
    }
    name_bucket(&user, subject, digest);
    bool higher = admin.quota == 0 || admin.quota > user.quota;
    enum rank rank = higher ? remembered_rank(ratelimit, digest) : RANK_PLAIN;
    if (rank != RANK_ADMIN) {
        count(request, &user, digest, &state);
        if (state.wait_us <= 0 || rank == RANK_PLAIN) {
            return apply(request, response, &user, &state);
        }
        bool is = is_admin(request);
        remember_rank(ratelimit, digest, is);
        if (!is) {
            return apply(request, response, &user, &state);
        }
    }
    if (admin.quota == 0) {
        return ERR_OK;
    }
    name_bucket(&admin, subject, of_admin);
    count(request, &admin, of_admin, &state);
    return apply(request, response, &admin, &state);
}

/* Of what has one limit, whoever it is. A quota of 0: none. */
static enum err apply_policy(struct request *request, struct response *response, const struct policy *policy,
                             const char *subject)
{
    uint8_t digest[DIGEST_SIZE];
    struct state state;
    if (policy->quota == 0) {
        return ERR_OK;
    }
    name_bucket(policy, subject, digest);
    count(request, policy, digest, &state);
    return apply(request, response, policy, &state);
}

/* Whose bucket: of a person, or of a key or service by itself. */
static void name_subject(const struct principal *principal, char ret_subject[SUBJECT_SIZE])
{
    char id[UUID_TEXT_SIZE];
    if (principal->kind == PRINCIPAL_USER) {
        snprintf(ret_subject, SUBJECT_SIZE, "user:%lld", (long long)principal->user_id);
    } else {
        uuid_format(principal->grant_id, id);
        snprintf(ret_subject, SUBJECT_SIZE, "grant:%s", id);
    }
}

static enum err apply_calls(struct request *request, struct response *response)
{
    const struct config *config = request->services->config;
    bool service = request->principal.kind == PRINCIPAL_SERVICE;
    int64_t per_hour = service ? config->rate_service_per_hour : config->rate_user_per_hour;
    const struct policy policy = {service ? "service" : "key", per_hour, HOUR_S, per_hour};
    char subject[SUBJECT_SIZE];
    name_subject(&request->principal, subject);
    return request->principal.kind == PRINCIPAL_USER ? apply_user(request, response, subject)
                                                     : apply_policy(request, response, &policy, subject);
}

static enum err apply_events(struct request *request, struct response *response)
{
    const struct config *config = request->services->config;
    const struct principal *principal = &request->principal;
    int64_t per_second = principal->per_second ? principal->per_second : config->rate_events_per_second;
    int64_t burst = principal->burst ? principal->burst : config->rate_events_burst;
    const struct policy policy = {"events", per_second, 1, burst > per_second ? burst : per_second};
    char subject[SUBJECT_SIZE];
    name_subject(principal, subject);
    return apply_policy(request, response, &policy, subject);
}

enum err ratelimit_apply_login(struct request *request, struct response *response)
{
    int64_t per_minute = request->services->config->rate_login_per_minute;
    const struct policy policy = {"login", per_minute, MINUTE_S, per_minute};
    const char *address = request_variable(request, "REMOTE_ADDR");
    char subject[SUBJECT_SIZE];
    snprintf(subject, sizeof(subject), "network:%s", request_network(request->arena, address));
    return apply_policy(request, response, &policy, subject);
}

enum err ratelimit_apply(struct request *request, struct response *response)
{
    switch (request->route->rate) {
    case RATE_LOGIN:
        return ratelimit_apply_login(request, response);
    case RATE_CALLS:
        return apply_calls(request, response);
    case RATE_EVENTS:
        return apply_events(request, response);
    default:
        return ERR_OK;
    }
}
