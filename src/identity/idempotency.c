/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/idempotency.h"

#include <string.h>

enum { KEY_MAX = 255, ANSWER_MAX = 192 * 1024 };

static const char PURPOSE[] = "tallygate idempotency answers v1";
static const char PURPOSE_BODY[] = "tallygate idempotency bodies v1";

/* The lock lasts as long as the transaction of who is first. */
static const struct pg_statement LOCK = {
    "idempotency_lock", "SELECT pg_try_advisory_xact_lock(('x' || left($1, 16))::bit(64)::bigint)"};
static const struct pg_statement FIND = {
    "idempotency_find",
    "SELECT encode(body_hash, 'hex'), status, encode(answer, 'hex') FROM idempotency "
    "WHERE owner = $1 AND key_hash = $2::bytea AND created_at > now() - interval '1 day'"};
static const struct pg_statement KEEP = {
    "idempotency_keep",
    "INSERT INTO idempotency (owner, key_hash, body_hash, status, answer) VALUES ($1, $2::bytea, $3::bytea, $4, $5::bytea) "
    "ON CONFLICT (owner, key_hash) DO UPDATE SET body_hash = excluded.body_hash, status = excluded.status, "
    "answer = excluded.answer, created_at = now()"};
static const struct pg_statement PRUNE = {
    "idempotency_prune",
    "DELETE FROM idempotency WHERE (owner, key_hash) IN (SELECT owner, key_hash FROM idempotency "
    "WHERE created_at < now() - interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};

enum { COLUMN_BODY, COLUMN_STATUS, COLUMN_ANSWER };

struct attempt {
    struct request *request;
    struct response *response;
    route_handler *handler;
    const char *owner;
    uint8_t key_hash[CRYPTO_SHA256_SIZE];
    uint8_t body_hash[CRYPTO_SHA256_SIZE];
    char label[2 * CRYPTO_SHA256_SIZE + 1]; /* of owner and key: what the answer is sealed for */
};

/* The draft has a quoted string; many send it bare. */
static bool read_key(const char *header, char ret_key[KEY_MAX + 1])
{
    size_t length = strlen(header);
    if (length >= 2 && header[0] == '"' && header[length - 1] == '"') {
        header++;
        length -= 2;
    }
    if (length == 0 || length > KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (header[i] < 0x21 || header[i] > 0x7e || header[i] == '"' || header[i] == '\\') {
            return false;
        }
    }
    memcpy(ret_key, header, length);
    ret_key[length] = '\0';
    return true;
}

/* Whom a key belongs to: the account in the workspace, the API key, the service. Who has no account is known
 * by the address they come from. */
static const char *owner_of(struct request *request)
{
    const struct principal *principal = &request->principal;
    char grant[UUID_TEXT_SIZE];
    uuid_format(principal->grant_id, grant);
    switch (principal->kind) {
    case PRINCIPAL_USER:
        return arena_printf(request->arena, "user:%lld:%lld", (long long)principal->user_id,
                            (long long)principal->workspace_id);
    case PRINCIPAL_SERVICE:
    case PRINCIPAL_KEY:
        return arena_printf(request->arena, "grant:%s", grant);
    default:
        return arena_printf(request->arena, "nobody:%s", request_variable(request, "REMOTE_ADDR"));
    }
}

/* ---- answers ---- */

static bool seal_key(const struct attempt *attempt, uint8_t ret_key[CRYPTO_KEY_SIZE])
{
    const struct config *config = attempt->request->services->config;
    return crypto_derive(config->secret, config->secret_length, PURPOSE, ret_key);
}

static enum err keep_answer(struct pg *pg, const struct attempt *attempt)
{
    const struct buf *body = attempt->response->body;
    uint8_t key[CRYPTO_KEY_SIZE];
    struct pg_params params = {0};
    if (body->length > ANSWER_MAX) {
        return ERR_OK; /* too much to keep; the request will be carried out again */
    }
    size_t sealed_length = body->length + CRYPTO_SEAL_OVERHEAD;
    uint8_t *sealed = arena_alloc(attempt->request->arena, sealed_length);
    bool made = seal_key(attempt, key) &&
                crypto_seal(key, attempt->label, (const uint8_t *)body->data, body->length, sealed);
    crypto_wipe(key, sizeof(key));
    pg_text(&params, attempt->owner);
    pg_bytes(&params, attempt->key_hash, sizeof(attempt->key_hash));
    pg_bytes(&params, attempt->body_hash, sizeof(attempt->body_hash));
    pg_int(&params, attempt->response->status);
    pg_bytes(&params, sealed, sealed_length);
    return made ? pg_query(pg, &KEEP, &params, NULL) : ERR_INTERNAL;
}

static enum err answer_again(const struct attempt *attempt, const PGresult *row)
{
    struct arena *arena = attempt->request->arena;
    char hash[2 * CRYPTO_SHA256_SIZE + 1];
    uint8_t key[CRYPTO_KEY_SIZE];
    const char *hex = pg_get_text(row, 0, COLUMN_ANSWER);
    size_t sealed_length = strlen(hex) / 2;
    crypto_hex(attempt->body_hash, sizeof(attempt->body_hash), hash);
    if (strcmp(hash, pg_get_text(row, 0, COLUMN_BODY)) != 0) {
        return problem_say(&attempt->request->problem, ERR_INVALID,
                           "The Idempotency-Key was used for another request.");
    }
    uint8_t *sealed = arena_alloc(arena, sealed_length + 1), *text = arena_alloc(arena, sealed_length + 1);
    bool opened = sealed_length >= CRYPTO_SEAL_OVERHEAD && crypto_unhex(hex, sealed, sealed_length) &&
                  seal_key(attempt, key) && crypto_open(key, attempt->label, sealed, sealed_length, text);
    crypto_wipe(key, sizeof(key));
    if (!opened) {
        return ERR_INTERNAL; /* sealed with another master secret */
    }
    int status = (int)pg_get_int(row, 0, COLUMN_STATUS);
    size_t length = sealed_length - CRYPTO_SEAL_OVERHEAD;
    response_header(attempt->response, "Idempotent-Replayed", "true");
    if (length) {
        response_text(attempt->response, status, "application/json", (const char *)text, length);
    } else {
        response_empty(attempt->response, status);
    }
    return ERR_OK;
}

/* ---- one attempt, as a transaction ---- */

static enum err carry_out(struct pg *pg, void *argument)
{
    struct attempt *attempt = argument;
    struct pg_params lock = {0}, find = {0};
    PG_RESULT_AUTO locked = NULL;
    PG_RESULT_AUTO row = NULL;
    pg_text(&lock, attempt->label);
    enum err e = pg_query(pg, &LOCK, &lock, &locked);
    if (!e && !pg_get_bool(locked, 0, 0)) {
        return problem_say(&attempt->request->problem, ERR_CONFLICT,
                           "A request with this Idempotency-Key is under way. Wait for its answer.");
    }
    pg_text(&find, attempt->owner);
    pg_bytes(&find, attempt->key_hash, sizeof(attempt->key_hash));
    e = e ? e : pg_query(pg, &FIND, &find, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) > 0) {
        return answer_again(attempt, row);
    }
    e = attempt->handler(attempt->request, attempt->response);
    return e || attempt->response->status >= 300 ? e : keep_answer(pg, attempt);
}

/* Of the body there may be a password, of which no quick hash may lie about: it takes the master secret. */
static enum err hash_all(struct attempt *attempt, const char *key)
{
    const struct request *request = attempt->request;
    const struct config *config = request->services->config;
    uint8_t digest[CRYPTO_SHA256_SIZE], secret[CRYPTO_KEY_SIZE];
    const char *head = arena_printf(request->arena, "%s %s ", request->method, request->route->pattern);
    size_t head_length = strlen(head);
    char *whole = arena_alloc(request->arena, head_length + strlen(request->path) + 1 + request->body_length);
    memcpy(whole, head, head_length);
    memcpy(whole + head_length, request->path, strlen(request->path));
    whole[head_length + strlen(request->path)] = ' ';
    memcpy(whole + head_length + strlen(request->path) + 1, request->body, request->body_length);
    bool made =
        crypto_derive(config->secret, config->secret_length, PURPOSE_BODY, secret) &&
        crypto_hmac_sha256(secret, whole, head_length + strlen(request->path) + 1 + request->body_length,
                           attempt->body_hash);
    crypto_wipe(secret, sizeof(secret));
    crypto_sha256(key, strlen(key), attempt->key_hash);
    const char *label = arena_printf(request->arena, "%s %s", attempt->owner, key);
    crypto_sha256(label, strlen(label), digest);
    crypto_hex(digest, sizeof(digest), attempt->label);
    return made ? ERR_OK : ERR_INTERNAL;
}

enum err idempotency_run(struct request *request, struct response *response, route_handler *handler)
{
    const char *header = request_variable(request, "HTTP_IDEMPOTENCY_KEY");
    char key[KEY_MAX + 1];
    if (!header) {
        return handler(request, response);
    }
    if (!read_key(header, key)) {
        return problem_say(&request->problem, ERR_BAD_REQUEST,
                           "An Idempotency-Key has 1 to %d printable characters without blanks and quotes.",
                           KEY_MAX);
    }
    struct attempt attempt = {
        .request = request, .response = response, .handler = handler, .owner = owner_of(request)};
    enum err e = hash_all(&attempt, key);
    return e ? e : pg_transaction(request->services->pg, carry_out, &attempt);
}

enum err idempotency_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &PRUNE, NULL, &result);
    if (!e) {
        *ret_more = PQntuples(result) > 0;
    }
    return e;
}
