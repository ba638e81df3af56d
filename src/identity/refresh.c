/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session has one refresh token at a time. Using it makes the next, and the one before is good for nothing
 * but this: within refresh_grace_s it is answered with the same successor once more, so that a client whose
 * answer was lost, or whose two tabs ask at once, is not logged out. Used after that, or when it is older
 * still, somebody has a copy: nobody can tell whether it is the client or a thief who comes second, so the
 * session ends for both, and the audit log says so.
 *
 * A token is derived, not drawn: HMAC-SHA-256 over session, generation and the session's random seed, under a
 * key from the master secret. So the same successor can be given twice although only a SHA-256 of it is
 * stored, and a token of any earlier generation is recognised as one of ours, at the price of one row for
 * each session. To make a token takes the master secret and the row: a copy of the database is not enough,
 * and a session's id, which stands in access tokens and logs, ends no session. What does not verify is no
 * token, and changes nothing.
 *
 * The row is locked while it is judged, so of fifty requests with one token at once one makes the successor
 * and the others get it too.
 */
#include "identity/refresh.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/session.h"
#include "queries.h"
#include "store/pg.h"

enum { ID_SIZE = 16, GENERATION_SIZE = 4, SECRET_SIZE = 32, BYTES = ID_SIZE + GENERATION_SIZE + SECRET_SIZE };

static const char PREFIX[] = REFRESH_PREFIX;
static const char PURPOSE[] = "tallygate refresh tokens v1";

static const struct pg_statement SEED = {
    "refresh_seed",
    "SELECT encode(seed, 'hex') FROM sessions WHERE id = $1::uuid AND expires_at > now() AND seed IS NOT NULL"};
static const struct pg_statement LOAD = {"refresh_load", sql_refresh_load};
static const struct pg_statement ROTATE = {
    "refresh_rotate",
    "UPDATE sessions SET generation = generation + 1, refresh_hash = $2, refreshed_at = clock_timestamp(), "
    "expires_at = now() + make_interval(secs => $3::int), address = $4::inet, user_agent = $5 WHERE id = $1::uuid"};
static const struct pg_statement END = {
    "refresh_end",
    "DELETE FROM sessions WHERE id = $1::uuid RETURNING id, jsonb_build_object('user_id', user_id)"};

enum { COLUMN_GENERATION = 7, COLUMN_HASH, COLUMN_AGE, COLUMN_REFRESHED, COLUMN_EXPIRES };

static void put_generation(uint8_t *bytes, int64_t generation)
{
    for (int i = 0; i < GENERATION_SIZE; i++) {
        bytes[i] = (uint8_t)(generation >> (8 * (GENERATION_SIZE - 1 - i)));
    }
}

enum err refresh_derive(const struct config *config, const uint8_t session_id[16], int64_t generation,
                        const uint8_t seed[REFRESH_SEED_SIZE], struct refresh_token *ret_token)
{
    uint8_t key[CRYPTO_KEY_SIZE];
    uint8_t bytes[BYTES];
    uint8_t text[ID_SIZE + GENERATION_SIZE + REFRESH_SEED_SIZE];

    memcpy(bytes, session_id, ID_SIZE);
    put_generation(bytes + ID_SIZE, generation);
    memcpy(text, bytes, ID_SIZE + GENERATION_SIZE);
    memcpy(text + ID_SIZE + GENERATION_SIZE, seed, REFRESH_SEED_SIZE);
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
                crypto_hmac_sha256(key, text, sizeof(text), bytes + ID_SIZE + GENERATION_SIZE);
    crypto_wipe(key, sizeof(key));
    if (!made) {
        return ERR_INTERNAL;
    }
    memcpy(ret_token->text, PREFIX, sizeof(PREFIX) - 1);
    size_t length =
        sizeof(PREFIX) - 1 + crypto_base64url(bytes, sizeof(bytes), ret_token->text + sizeof(PREFIX) - 1);
    crypto_sha256(ret_token->text, length, ret_token->hash);
    return ERR_OK;
}

/* What a token says of itself. False when it has not the form of one. */
static bool read_token(const char *text, size_t length, uint8_t ret_session_id[16], int64_t *ret_generation)
{
    enum { ENCODED = (BYTES * 4 + 2) / 3 };
    uint8_t bytes[BYTES];
    size_t decoded;
    size_t prefix = sizeof(PREFIX) - 1;
    if (length != prefix + ENCODED || strncmp(text, PREFIX, prefix) != 0 ||
        !crypto_base64url_decode(text + prefix, ENCODED, bytes, &decoded)) {
        return false;
    }
    memcpy(ret_session_id, bytes, ID_SIZE);
    *ret_generation = 0;
    for (int i = 0; i < GENERATION_SIZE; i++) {
        *ret_generation = *ret_generation << 8 | bytes[ID_SIZE + i];
    }
    return true;
}

/* ---- one use of a token, as a transaction ---- */

enum verdict { VERDICT_UNKNOWN, VERDICT_GOOD, VERDICT_REUSED };

struct use {
    struct request *request;
    const char *text;
    size_t length;
    uint8_t session_id[ID_SIZE];
    char session_text[UUID_TEXT_SIZE];
    int64_t generation; /* as the token says */

    struct refresh_token token; /* as it must be, in full */
    struct refresh_token successor;
    PGresult *row;
    struct session_user user;
    enum verdict verdict;
    const char *access_token;
};

static bool is_current(const struct refresh_token *token, const PGresult *row)
{
    char hex[2 * CRYPTO_SHA256_SIZE + 1];
    crypto_hex(token->hash, sizeof(token->hash), hex);
    const char *stored = pg_get_text(row, 0, COLUMN_HASH);
    return strlen(stored) == sizeof(hex) - 1 && CRYPTO_memcmp(hex, stored, sizeof(hex) - 1) == 0;
}

static enum err rotate(struct pg *pg, struct use *use)
{
    const struct config *config = use->request->services->config;
    struct pg_params params = {0};
    pg_text(&params, use->session_text);
    pg_bytes(&params, use->successor.hash, sizeof(use->successor.hash));
    pg_int(&params, config->refresh_token_ttl_s);
    pg_text(&params, request_variable(use->request, "REMOTE_ADDR"));
    pg_text(&params, session_user_agent(use->request));
    return pg_query(pg, &ROTATE, &params, NULL);
}

static enum err end_reused(struct pg *pg, const struct use *use, int64_t stored)
{
    struct pg_params params = {0};
    const struct audit_entry entry = {
        .action = "session.refresh_token_reused",
        .subject = arena_printf(use->request->arena, "session:%s", use->session_text),
        .detail = arena_printf(
            use->request->arena, "{\"user_id\": %lld, \"generation\": %lld, \"current\": %lld}",
            (long long)pg_get_int(use->row, 0, 0), (long long)use->generation, (long long)stored)};
    pg_text(&params, use->session_text);
    enum err e = pg_query(pg, &END, &params, NULL);
    return e ? e : audit_write(pg, use->request, &entry);
}

/* Whether the text is a token that this session had or will have. Fills in both tokens. */
static enum err recognise(struct use *use, bool *ret_known)
{
    const struct services *services = use->request->services;
    uint8_t seed[REFRESH_SEED_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;

    pg_text(&params, use->session_text);
    enum err e = pg_query(services->pg, &SEED, &params, &row);
    if (e || PQntuples(row) == 0) {
        return e;
    }
    if (!crypto_unhex(pg_get_text(row, 0, 0), seed, sizeof(seed))) {
        return ERR_INTERNAL;
    }
    e = refresh_derive(services->config, use->session_id, use->generation, seed, &use->token);
    e = e ? e : refresh_derive(services->config, use->session_id, use->generation + 1, seed, &use->successor);
    *ret_known = !e && CRYPTO_memcmp(use->token.text, use->text, use->length) == 0;
    return e;
}

static enum err judge(struct pg *pg, void *argument)
{
    struct use *use = argument;
    const struct config *config = use->request->services->config;
    struct pg_params params = {0};

    pg_text(&params, use->session_text);
    enum err e = pg_query(pg, &LOAD, &params, &use->row);
    if (e || PQntuples(use->row) == 0) {
        return e;
    }
    int64_t stored = pg_get_int(use->row, 0, COLUMN_GENERATION);
    bool current = use->generation == stored;
    if (use->generation > stored || (current && !is_current(&use->token, use->row))) {
        return ERR_OK; /* it was never given out */
    }
    bool in_time = pg_get_int(use->row, 0, COLUMN_AGE) <= config->refresh_grace_s * INT64_C(1000000);
    if (!current && !(use->generation + 1 == stored && in_time)) {
        use->verdict = VERDICT_REUSED;
        return end_reused(pg, use, stored);
    }
    session_read_user(use->request->arena, use->row, &use->user);
    use->verdict = VERDICT_GOOD;
    e = session_token(use->request, &use->user, use->session_id, &use->access_token);
    return e || !current ? e : rotate(pg, use);
}

/* Begin with a text from outside; *ret_known as in recognise(). */
static enum err use_begin(struct use *use, struct request *request, const char *text, bool *ret_known)
{
    *use = (struct use){.request = request, .text = text, .length = strlen(text)};
    *ret_known = false;
    if (!read_token(text, use->length, use->session_id, &use->generation)) {
        return ERR_OK;
    }
    uuid_format(use->session_id, use->session_text);
    return recognise(use, ret_known);
}

enum err refresh_use(struct request *request, const char *text, struct session_user *ret_user,
                     struct session_opened *ret_opened, bool *ret_good)
{
    struct use use;
    bool known;
    enum err e = use_begin(&use, request, text, &known);
    if (!e && known) {
        e = pg_transaction(request->services->pg, judge, &use);
    }
    *ret_good = !e && use.verdict == VERDICT_GOOD;
    if (*ret_good) {
        request->principal.user_id = use.user.user_id; /* for the log */
        *ret_user = use.user;
        *ret_opened =
            (struct session_opened){.refresh_token = arena_strdup(request->arena, use.successor.text),
                                    .access_token = use.access_token};
        memcpy(ret_opened->id, use.session_id, sizeof(ret_opened->id));
    }
    PQclear(use.row);
    return e;
}

enum err refresh_look(struct request *request, const char *text, struct refresh_state *ret_state,
                      bool *ret_good)
{
    struct use use;
    bool known;
    struct pg_params params = {0};
    enum err e = use_begin(&use, request, text, &known);
    pg_text(&params, use.session_text);
    e = e || !known ? e : pg_query(request->services->pg, &LOAD, &params, &use.row);
    *ret_good = !e && known && PQntuples(use.row) > 0 &&
                use.generation == pg_get_int(use.row, 0, COLUMN_GENERATION) &&
                is_current(&use.token, use.row);
    if (*ret_good) {
        session_read_user(request->arena, use.row, &use.user);
        ret_state->user_id = use.user.user_id;
        ret_state->email = use.user.email;
        ret_state->issued_us = pg_get_int(use.row, 0, COLUMN_REFRESHED);
        ret_state->expires_us = pg_get_int(use.row, 0, COLUMN_EXPIRES);
        memcpy(ret_state->session_id, use.session_id, sizeof(ret_state->session_id));
    }
    PQclear(use.row);
    return e;
}

enum err refresh_revoke(struct request *request, const char *text)
{
    struct use use;
    bool known;
    struct pg_params params = {0};
    enum err e = use_begin(&use, request, text, &known);
    PG_RESULT_AUTO ended = NULL;
    const struct audit_change change = {.statement = &END,
                                        .params = &params,
                                        .action = "session.ended",
                                        .kind = "session",
                                        .detail_column = 1};
    pg_text(&params, use.session_text);
    return e || !known ? e : audit_carry_out(request, &change, &ended);
}

enum err refresh_session(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"refresh_token", FIELD_STRING, FIELD_REQUIRED, 1, 512, NULL}};
    struct value value;
    struct session_user user;
    struct session_opened opened;
    bool good;
    JSON_AUTO body = NULL;

    enum err e = validate_body(request, FIELDS, 1, &body, &value);
    e = e ? e : refresh_use(request, value.text, &user, &opened, &good);
    if (e) {
        return e;
    }
    if (!good) {
        (void)challenge_bearer(request, response, NULL);
        return problem_say(&request->problem, ERR_UNAUTHENTICATED,
                           "The refresh token is not valid, or its session has ended. Log in again.");
    }
    return session_answer(request, response, 200, &user, &opened);
}
