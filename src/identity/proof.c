/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/proof.h"

#include "base/json.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/mail.h"
#include "identity/password.h"
#include "identity/strength.h"
#include "queries.h"

static const struct pg_statement SEND = {"proof_send", sql_proof_send};
static const struct pg_statement FORGOT = {"proof_forgot", sql_proof_forgot};
static const struct pg_statement VERIFY = {"proof_verify", sql_proof_verify};
static const struct pg_statement RESET = {"proof_reset", sql_proof_reset};
static const struct pg_statement CHANGE = {"proof_change", sql_proof_change};
static const struct pg_statement OWNER = {
    "proof_owner",
    "SELECT u.id, u.email, u.username, u.full_name FROM mail_tokens t JOIN users u ON u.id = t.user_id "
    "WHERE t.hash = $1::bytea AND t.purpose = $2 AND t.expires_at > now() AND u.is_active"};

/* Who asks many times at once waits here, so that each sees what the one before counted. */
static const struct pg_statement LOCK = {
    "proof_lock", "SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || lower($2), 0))"};

enum { OWNER_ID, OWNER_EMAIL, OWNER_USERNAME, OWNER_FULL_NAME };

/* ---- sending ---- */

static enum err lock(struct pg *pg, const char *purpose, const char *whose)
{
    struct pg_params params = {0};
    pg_text(&params, purpose);
    pg_text(&params, whose);
    return pg_query(pg, &LOCK, &params, NULL);
}

static enum err send(struct request *request, struct pg *pg, const char *purpose, const char *email,
                     int64_t ttl_s, bool *ret_sent)
{
    struct mail_token token;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    enum err e = mail_token_make(request->services->config, &token);
    e = e ? e
          : lock(pg, purpose, arena_printf(request->arena, "%lld", (long long)request->principal.user_id));
    mail_token_params(&token, &params);
    pg_int(&params, request->principal.user_id);
    pg_text(&params, purpose);
    pg_text(&params, email);
    pg_int(&params, ttl_s);
    e = e ? e : pg_query(pg, &SEND, &params, &result);
    if (!e) {
        *ret_sent = PQntuples(result) > 0;
    }
    return e;
}

enum err proof_send_change(struct request *request, struct pg *pg, const char *email, bool *ret_sent)
{
    enum err e = send(request, pg, "change", email, PROOF_CHANGE_TTL_S, ret_sent);
    return e || !*ret_sent ? e : mail_notice(pg, request->principal.user_id, NULL, "change_asked");
}

static enum err send_verification(struct pg *pg, void *argument)
{
    bool sent;
    return send(argument, pg, "verify", NULL, PROOF_VERIFY_TTL_S, &sent);
}

enum err proof_send_verification(struct request *request, struct response *response)
{
    enum err e = pg_transaction(request->services->pg, send_verification, request);
    if (!e) {
        response_empty(response, 202);
    }
    return e;
}

struct forgot {
    const char *email;
    const struct pg_params *params;
};

static enum err send_reset(struct pg *pg, void *argument)
{
    const struct forgot *forgot = argument;
    enum err e = lock(pg, "reset", forgot->email);
    return e ? e : pg_query(pg, &FORGOT, forgot->params, NULL);
}

enum err proof_forgot(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"email", FIELD_STRING, FIELD_REQUIRED, 3, 254, validate_email}};
    struct value email;
    struct mail_token token;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, 1, &body, &email);
    e = e ? e : mail_token_make(request->services->config, &token);
    if (e) {
        return e;
    }
    mail_token_params(&token, &params);
    pg_text(&params, email.text);
    pg_int(&params, PROOF_RESET_TTL_S);
    struct forgot forgot = {email.text, &params};
    e = pg_transaction(request->services->pg, send_reset, &forgot);
    if (!e) {
        response_empty(response, 202);
    }
    return e;
}

/* ---- using ---- */

static enum err refuse(struct request *request)
{
    return problem_field(&request->problem, "token", "wrong",
                         "is not one that was sent, was used, or has expired");
}

/* Whose token it is. *ret_owner stays NULL for one that is none. */
static enum err find_owner(struct request *request, const uint8_t hash[CRYPTO_SHA256_SIZE],
                           const char *purpose, PGresult **ret_owner)
{
    struct pg_params params = {0};
    pg_bytes(&params, hash, CRYPTO_SHA256_SIZE);
    pg_text(&params, purpose);
    enum err e = pg_query(request->services->pg, &OWNER, &params, ret_owner);
    return e ? e : PQntuples(*ret_owner) ? ERR_OK : refuse(request);
}

static enum err use(struct request *request, const struct pg_statement *statement, const char *action,
                    int64_t user_id, const struct pg_params *params)
{
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {
        .statement = statement, .params = params, .lock_user_id = user_id, .action = action, .kind = "user"};
    request->principal.user_id = user_id; /* whom the token proves; for both logs */
    enum err e = audit_carry_out(request, &change, &result);
    return e ? e : PQntuples(result) ? ERR_OK : refuse(request);
}

static const struct field TOKEN_FIELD[] = {{"token", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL}};

/* A use that needs nothing but the token. `notice`: the statement writes one. */
static enum err use_token(struct request *request, struct response *response,
                          const struct pg_statement *statement, const char *purpose, const char *action,
                          bool notice)
{
    struct value token;
    uint8_t id[16], hash[CRYPTO_SHA256_SIZE];
    char notice_id[UUID_TEXT_SIZE];
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO owner = NULL;
    enum err e = validate_body(request, TOKEN_FIELD, 1, &body, &token);
    if (!e && !mail_token_hash(token.text, token.length, hash)) {
        e = refuse(request);
    }
    e = e ? e : find_owner(request, hash, purpose, &owner);
    if (e) {
        return e;
    }
    pg_bytes(&params, hash, sizeof(hash));
    if (notice) {
        uuid_v7(id);
        uuid_format(id, notice_id);
        pg_text(&params, notice_id);
    }
    e = use(request, statement, action, pg_get_int(owner, 0, OWNER_ID), &params);
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "Another account has this address by now.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err proof_verify(struct request *request, struct response *response)
{
    return use_token(request, response, &VERIFY, "verify", "user.address_verified", false);
}

enum err proof_confirm(struct request *request, struct response *response)
{
    return use_token(request, response, &CHANGE, "change", "user.address_changed", true);
}

enum err proof_reset(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"token", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL},
        {"password", FIELD_BYTES, FIELD_REQUIRED, 0, 1024, password_check},
    };
    enum { TOKEN, PASSWORD, COUNT };
    const struct services *services = request->services;
    struct value values[COUNT];
    uint8_t id[16], hash[CRYPTO_SHA256_SIZE];
    char notice_id[UUID_TEXT_SIZE], password_text[PASSWORD_HASH_SIZE];
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO owner = NULL;

    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (!e && !mail_token_hash(values[TOKEN].text, values[TOKEN].length, hash)) {
        e = refuse(request);
    }
    /* Before the costly hash; the statement decides in the end. */
    e = e ? e : find_owner(request, hash, "reset", &owner);
    if (e) {
        return e;
    }
    const struct strength_account account = {pg_get_text(owner, 0, OWNER_EMAIL),
                                             pg_get_text(owner, 0, OWNER_USERNAME),
                                             pg_get_text(owner, 0, OWNER_FULL_NAME)};
    e = strength_check(request, "password", values[PASSWORD].text, &account);
    e = e ? e
          : password_hash(services->hasher, values[PASSWORD].text, services->config->bcrypt_cost,
                          password_text);
    if (e) {
        return e;
    }
    uuid_v7(id);
    uuid_format(id, notice_id);
    pg_bytes(&params, hash, sizeof(hash));
    pg_text(&params, password_text);
    pg_text(&params, notice_id);
    e = use(request, &RESET, "user.password_reset", pg_get_int(owner, 0, OWNER_ID), &params);
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}
