/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/throttle.h"

#include <ctype.h>
#include <string.h>

#include "queries.h"

enum { TRIES = 8 }; /* of one attempt to be counted among others */

static const struct pg_statement BEGIN = {"throttle_begin", sql_throttle_begin};
static const struct pg_statement END = {"throttle_end", sql_throttle_end};
static const struct pg_statement PRUNE = {
    "throttle_prune", "DELETE FROM login_attempts WHERE (account, network) IN (SELECT account, network "
                      "FROM login_attempts WHERE last_at < now() - interval '1 day' LIMIT 1000 "
                      "FOR UPDATE SKIP LOCKED) RETURNING 1"};

static const char PURPOSE[] = "tallygate login attempts v1";

/* Addresses are the same in either case, as for citext. What was typed is not kept, nor a quick hash of it:
 * it may be a password. */
static enum err fill_params(struct request *request, const char *email, struct pg_params *params)
{
    uint8_t *hash = arena_alloc(request->arena, CRYPTO_SHA256_SIZE);
    char *lower = arena_strdup(request->arena, email);
    for (char *c = lower; *c; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    const struct config *config = request->services->config;
    uint8_t key[CRYPTO_KEY_SIZE];
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
                crypto_hmac_sha256(key, lower, strlen(lower), hash);
    crypto_wipe(key, sizeof(key));
    pg_bytes(params, hash, CRYPTO_SHA256_SIZE);
    pg_text(params, request_variable(request, "REMOTE_ADDR"));
    return made ? ERR_OK : ERR_INTERNAL;
}

/* *ret_raced: another attempt was counted meanwhile, and this one not. */
static enum err count(struct request *request, const struct pg_params *params, int64_t *ret_wait_s,
                      bool *ret_raced)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(request->services->pg, &BEGIN, params, &result);
    *ret_raced = !e && !pg_get_text(result, 0, 0);
    *ret_wait_s = e || *ret_raced ? 0 : pg_get_int(result, 0, 0);
    return e;
}

enum err throttle_begin(struct request *request, const char *email)
{
    struct pg_params params = {0};
    int64_t wait_s;
    bool raced;
    if (!request->services->config->login_delays) {
        return ERR_OK;
    }
    enum err e = fill_params(request, email, &params);
    if (e) {
        return e;
    }
    e = count(request, &params, &wait_s, &raced);
    for (int i = 1; raced && i < TRIES; i++) {
        e = count(request, &params, &wait_s, &raced);
    }
    wait_s = raced ? 1 : wait_s;
    if (wait_s > 0) {
        request->problem.retry_after_s = wait_s;
        return problem_say(&request->problem, ERR_TOO_MANY,
                           "Too many attempts failed. Wait for as long as Retry-After says.");
    }
    return e;
}

enum err throttle_end(struct request *request, const char *email)
{
    struct pg_params params = {0};
    if (!request->services->config->login_delays) {
        return ERR_OK;
    }
    enum err e = fill_params(request, email, &params);
    return e ? e : pg_query(request->services->pg, &END, &params, NULL);
}

enum err throttle_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &PRUNE, NULL, &result);
    if (!e) {
        *ret_more = PQntuples(result) > 0;
    }
    return e;
}
