/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/mfa.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/challenge.h"
#include "http/validate.h"
#include "identity/account.h"
#include "identity/audit.h"
#include "identity/idempotency.h"
#include "identity/mail.h"
#include "identity/session.h"
#include "identity/totp.h"

static const char PREFIX[] = "tgf_";
static const char PURPOSE[] = "tallygate login challenges v1";

enum {
    CHALLENGE_TTL_S = 300,
    NUMBER_SIZE = 8,
    STAMP_SIZE = 8, /* of the password's hash */
    SIGNED_SIZE = 2 * NUMBER_SIZE + STAMP_SIZE,
    CHALLENGE_SIZE = SIGNED_SIZE + CRYPTO_SHA256_SIZE,
    CHALLENGE_TEXT = sizeof(PREFIX) - 1 + (CHALLENGE_SIZE * 4 + 2) / 3,
};

static const struct pg_statement STATE = {
    "mfa_state",
    "SELECT confirmed_at IS NOT NULL, (SELECT count(*) FROM recovery_codes r WHERE r.user_id = t.user_id) "
    "FROM totp t WHERE user_id = $1"};
static const struct pg_statement EXISTS = {"mfa_account", "SELECT FROM users WHERE id = $1"};
static const struct pg_statement LOCK = {"mfa_lock", "SELECT FROM totp WHERE user_id = $1 FOR UPDATE"};
static const struct pg_statement REMOVE = {
    "mfa_remove", "WITH codes AS (DELETE FROM recovery_codes WHERE user_id = $1) "
                  "DELETE FROM totp WHERE user_id = $1 RETURNING confirmed_at IS NOT NULL"};

/* ---- the challenge ---- */

struct challenge {
    int64_t user_id;
    int64_t expires_s;
    uint8_t stamp[STAMP_SIZE];
};

static void stamp_of(const char *password_hash, uint8_t ret_stamp[STAMP_SIZE])
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    crypto_sha256(password_hash, strlen(password_hash), digest);
    memcpy(ret_stamp, digest, STAMP_SIZE);
}

static bool sign(const struct config *config, const struct challenge *challenge,
                 uint8_t ret_bytes[CHALLENGE_SIZE])
{
    uint8_t key[CRYPTO_KEY_SIZE];
    memcpy(ret_bytes, &challenge->user_id, NUMBER_SIZE);
    memcpy(ret_bytes + NUMBER_SIZE, &challenge->expires_s, NUMBER_SIZE);
    memcpy(ret_bytes + 2 * NUMBER_SIZE, challenge->stamp, STAMP_SIZE);
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
                crypto_hmac_sha256(key, ret_bytes, SIGNED_SIZE, ret_bytes + SIGNED_SIZE);
    crypto_wipe(key, sizeof(key));
    return made;
}

/* False for what is none of ours, or has expired. */
static bool read_challenge(const struct config *config, const char *text, size_t length,
                           struct challenge *ret_challenge)
{
    uint8_t bytes[CHALLENGE_SIZE + 2], expected[CHALLENGE_SIZE];
    size_t decoded, prefix = sizeof(PREFIX) - 1;
    struct challenge challenge;
    if (length != CHALLENGE_TEXT || strncmp(text, PREFIX, prefix) != 0 ||
        !crypto_base64url_decode(text + prefix, length - prefix, bytes, &decoded)) {
        return false;
    }
    memcpy(&challenge.user_id, bytes, NUMBER_SIZE);
    memcpy(&challenge.expires_s, bytes + NUMBER_SIZE, NUMBER_SIZE);
    memcpy(challenge.stamp, bytes + 2 * NUMBER_SIZE, STAMP_SIZE);
    *ret_challenge = challenge;
    return sign(config, &challenge, expected) && CRYPTO_memcmp(expected, bytes, CHALLENGE_SIZE) == 0 &&
           clock_now_us() / USEC_PER_SEC < challenge.expires_s;
}

enum err mfa_answer_challenge(struct request *request, struct response *response,
                              const struct session_user *user)
{
    uint8_t bytes[CHALLENGE_SIZE];
    char text[CHALLENGE_TEXT + 1];
    struct challenge challenge = {.user_id = user->user_id,
                                  .expires_s = clock_now_us() / USEC_PER_SEC + CHALLENGE_TTL_S};
    stamp_of(user->password_hash, challenge.stamp);
    if (!sign(request->services->config, &challenge, bytes)) {
        return ERR_INTERNAL;
    }
    memcpy(text, PREFIX, sizeof(PREFIX) - 1);
    crypto_base64url(bytes, sizeof(bytes), text + sizeof(PREFIX) - 1);
    JSON_AUTO answer = json_object_new_object();
    json_add(answer, "mfa_required", json_object_new_boolean(true));
    json_add_string(answer, "challenge", text);
    json_add_int(answer, "expires_in", CHALLENGE_TTL_S);
    response_json(response, 200, answer);
    return ERR_OK;
}

/* ---- codes ---- */

struct use {
    struct request *request;
    int64_t user_id;
    const char *code;
    bool begins;
    enum totp_verdict verdict;
    int64_t wait_s;
    char codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_SIZE]; /* with `begins` */
    const char *secret;                                  /* of a key that was just made */
    const char *email;                                   /* of its account */
};

/* `notice` is the mail that tells the account; NULL: none. */
static enum err tell(struct pg *pg, const struct use *use, const char *action, const char *notice)
{
    const struct audit_entry entry = {
        .action = action, .subject = arena_printf(use->request->arena, "user:%lld", (long long)use->user_id)};
    enum err e = audit_write(pg, use->request, &entry);
    return e || !notice ? e : mail_notice(pg, use->user_id, NULL, notice);
}

static enum err use_code(struct pg *pg, void *argument)
{
    struct use *use = argument;
    const struct config *config = use->request->services->config;
    enum err e = totp_use(config, pg, use->user_id, use->code, use->begins, &use->verdict, &use->wait_s);
    if (!e && use->verdict == TOTP_WRONG) {
        return tell(pg, use, "user.mfa_failed", NULL);
    }
    if (!e && use->verdict == TOTP_RECOVERED) {
        return tell(pg, use, "user.recovery_code_used", "mfa_recovered");
    }
    if (!e && use->verdict == TOTP_RIGHT && use->begins) {
        e = totp_make_recovery(config, pg, use->user_id, use->codes);
        e = e ? e : tell(pg, use, "user.mfa_enabled", "mfa_on");
    }
    return e;
}

/* ERR_OK only for codes that were right, and for TOTP_NONE. */
static enum err judge(struct use *use)
{
    struct problem *problem = &use->request->problem;
    enum err e = pg_transaction(use->request->services->pg, use_code, use);
    if (!e && use->verdict == TOTP_WAIT) {
        problem->retry_after_s = use->wait_s;
        return problem_say(problem, ERR_TOO_MANY,
                           "Too many codes were wrong. Wait for as long as Retry-After says.");
    }
    if (!e && use->verdict == TOTP_WRONG) {
        return problem_field(problem, "code", "wrong", "is not a code of now, or was used");
    }
    return e;
}

static enum err refuse_challenge(struct request *request, struct response *response)
{
    (void)challenge_bearer(request, response, NULL);
    return problem_say(&request->problem, ERR_UNAUTHENTICATED,
                       "The challenge is not valid any more. Log in with the password again.");
}

enum err mfa_login(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"challenge", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL},
        {"code", FIELD_STRING, FIELD_REQUIRED, 1, 32, NULL},
    };
    enum { CHALLENGE, CODE, COUNT };
    struct value values[COUNT];
    struct challenge challenge;
    uint8_t stamp[STAMP_SIZE];
    const char *hash;
    struct session_user user;
    struct session_opened opened;
    bool good;
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO row = NULL;

    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    if (!read_challenge(request->services->config, values[CHALLENGE].text, values[CHALLENGE].length,
                        &challenge)) {
        return refuse_challenge(request, response);
    }
    e = session_find_user(request, challenge.user_id, &row, &hash);
    if (!e) {
        stamp_of(hash, stamp);
        e = CRYPTO_memcmp(stamp, challenge.stamp, sizeof(stamp)) == 0 ? ERR_OK : ERR_NOT_FOUND;
    }
    if (e) {
        return e == ERR_NOT_FOUND ? refuse_challenge(request, response) : e;
    }
    struct use use = {.request = request, .user_id = challenge.user_id, .code = values[CODE].text};
    e = judge(&use);
    if (!e && use.verdict == TOTP_NONE) {
        return refuse_challenge(request, response); /* the factor was removed meanwhile */
    }
    e = e ? e : session_open_known(request, row, &user, &opened, &good);
    if (e) {
        return e;
    }
    return good ? session_answer(request, response, 200, &user, &opened)
                : refuse_challenge(request, response);
}

/* ---- having one ---- */

enum err mfa_show(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.user_id);
    enum err e = pg_query(request->services->pg, &STATE, &params, &result);
    if (e) {
        return e;
    }
    bool enabled = PQntuples(result) > 0 && pg_get_bool(result, 0, 0);
    JSON_AUTO answer = json_object_new_object();
    json_add(answer, "enabled", json_object_new_boolean(enabled));
    json_add_int(answer, "recovery_codes_left", enabled ? pg_get_int(result, 0, 1) : 0);
    response_json(response, 200, answer);
    return ERR_OK;
}

/* The body {current_password}, which must be right. */
static enum err check_password(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"current_password", FIELD_STRING, FIELD_REQUIRED, 1, 1024, NULL}};
    struct value value;
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, 1, &body, &value);
    return e ? e : account_check_password(request, response, &value);
}

static enum err begin(struct pg *pg, void *argument)
{
    struct use *use = argument;
    struct request *request = use->request;
    enum err e =
        totp_begin(request->services->config, pg, use->user_id, request->arena, &use->secret, &use->email);
    return e ? e : tell(pg, use, "user.mfa_begun", NULL);
}

static enum err make_key(struct request *request, struct response *response)
{
    const struct services *services = request->services;
    struct use use = {.request = request, .user_id = request->principal.user_id};
    enum err e = pg_transaction(services->pg, begin, &use);
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "The account has a second factor already.");
    }
    if (e) {
        return e;
    }
    const char *uri = totp_uri(request->arena, services->config->issuer, use.email, use.secret);
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "secret", use.secret);
    json_add_string(answer, "otpauth_uri", uri);
    json_add_string(answer, "qr_svg", totp_qr_svg(request->arena, uri));
    response_json(response, 201, answer);
    return ERR_OK;
}

/* The password is judged before the key's transaction, which a wrong one would roll back: then the attempt
 * would be neither counted nor noted. */
enum err mfa_begin(struct request *request, struct response *response)
{
    enum err e = check_password(request, response);
    return e ? e : idempotency_run(request, response, make_key);
}

static void answer_codes(struct response *response, char codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_SIZE])
{
    JSON_AUTO answer = json_object_new_object();
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < TOTP_RECOVERY_CODES; i++) {
        json_object_array_add(list, json_object_new_string(codes[i]));
    }
    json_add(answer, "recovery_codes", list);
    response_json(response, 200, answer);
    crypto_wipe(codes, TOTP_RECOVERY_CODES * TOTP_RECOVERY_SIZE);
}

enum err mfa_confirm(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"code", FIELD_STRING, FIELD_REQUIRED, 1, 32, NULL}};
    struct value code;
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, 1, &body, &code);
    if (e) {
        return e;
    }
    struct use use = {
        .request = request, .user_id = request->principal.user_id, .code = code.text, .begins = true};
    e = judge(&use);
    if (!e && use.verdict == TOTP_NONE) {
        return problem_say(&request->problem, ERR_CONFLICT, "There is no key that waits to be confirmed.");
    }
    if (!e) {
        answer_codes(response, use.codes);
    }
    return e;
}

static enum err renew(struct pg *pg, void *argument)
{
    struct use *use = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO state = NULL;
    pg_int(&params, use->user_id);
    enum err e = pg_query(pg, &LOCK, &params, NULL); /* or two at once would leave both their codes */
    e = e ? e : pg_query(pg, &STATE, &params, &state);
    if (e || PQntuples(state) == 0 || !pg_get_bool(state, 0, 0)) {
        use->verdict = TOTP_NONE;
        return e;
    }
    use->verdict = TOTP_RIGHT;
    e = totp_make_recovery(use->request->services->config, pg, use->user_id, use->codes);
    return e ? e : tell(pg, use, "user.recovery_codes_renewed", "mfa_codes");
}

static enum err has_none(struct request *request)
{
    return problem_say(&request->problem, ERR_CONFLICT, "The account has no second factor.");
}

enum err mfa_renew_recovery(struct request *request, struct response *response)
{
    struct use use = {.request = request, .user_id = request->principal.user_id};
    enum err e = check_password(request, response);
    e = e ? e : pg_transaction(request->services->pg, renew, &use);
    if (e) {
        return e;
    }
    if (use.verdict == TOTP_NONE) {
        return has_none(request);
    }
    answer_codes(response, use.codes);
    return ERR_OK;
}

static enum err remove_factor(struct pg *pg, void *argument)
{
    struct use *use = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, use->user_id);
    enum err e = pg_query(pg, &REMOVE, &params, &result);
    /* One that was only begun is dropped as well, but was none. */
    use->verdict = !e && PQntuples(result) > 0 && pg_get_bool(result, 0, 0) ? TOTP_RIGHT : TOTP_NONE;
    return e || use->verdict == TOTP_NONE ? e : tell(pg, use, "user.mfa_disabled", "mfa_off");
}

static enum err remove_of(struct request *request, struct response *response, int64_t user_id)
{
    struct use use = {.request = request, .user_id = user_id};
    enum err e = pg_transaction(request->services->pg, remove_factor, &use);
    if (e) {
        return e;
    }
    if (use.verdict == TOTP_NONE) {
        return has_none(request);
    }
    response_empty(response, 204);
    return ERR_OK;
}

enum err mfa_disable(struct request *request, struct response *response)
{
    enum err e = check_password(request, response);
    return e ? e : remove_of(request, response, request->principal.user_id);
}

enum err mfa_remove(struct request *request, struct response *response)
{
    int64_t id = request_param_int(request, "id");
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    if (id == request->principal.user_id) { /* that takes the password */
        return problem_say(&request->problem, ERR_CONFLICT, "Switch off your own by POST /auth/mfa/disable.");
    }
    pg_int(&params, id);
    enum err e = pg_query(request->services->pg, &EXISTS, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return problem_say(&request->problem, ERR_NOT_FOUND, "There is no account with this id.");
    }
    return e ? e : remove_of(request, response, id);
}
