/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/session.h"

#include <inttypes.h>
#include <string.h>

#include "base/cache.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/challenge.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/mfa.h"
#include "identity/password.h"
#include "identity/refresh.h"
#include "identity/throttle.h"
#include "identity/token.h"

/*
 * A session lives as long as its refresh token is good (refresh.c), and longer than any access token that it
 * got. Ending one is deleting its row: a trigger revokes its access tokens in the same transaction.
 */
#define SELECT_USER                                                                                          \
    "SELECT u.id, w.id, u.email, u.username, u.full_name, " PG_US("u.created_at") ", " PG_US(                \
        "u.updated_at") ", u.password_hash, u.is_active, "                                                   \
                        "EXISTS (SELECT FROM totp t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL) " \
                        "FROM users u JOIN memberships m ON m.user_id = u.id JOIN workspaces w ON w.id = m.workspace_id AND w.personal "
static const struct pg_statement BY_EMAIL = {"session_by_email",
                                             SELECT_USER "WHERE u.email = $1::text::citext"};
static const struct pg_statement BY_ID = {"session_by_id", SELECT_USER "WHERE u.id = $1"};
static const struct pg_statement OPEN = {
    "session_open",
    "INSERT INTO sessions (id, address, user_agent, expires_at, seed, refresh_hash, user_id) "
    "SELECT $1::uuid, $2::inet, $3, now() + make_interval(secs => $4::int), $5::bytea, $6::bytea, id "
    "FROM users u WHERE id = $7 AND is_active AND password_hash = $8 AND ($9::boolean OR NOT EXISTS "
    "(SELECT FROM totp t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL)) FOR SHARE OF u "
    "RETURNING id"};
static const struct pg_statement CROWD_OUT = {
    "session_crowd_out",
    "WITH gone AS (DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE user_id = $1 "
    "ORDER BY refreshed_at DESC, id DESC OFFSET 100) RETURNING id) "
    "SELECT $1, jsonb_build_object('sessions', count(*)) FROM gone HAVING count(*) > 0"};
static const struct pg_statement LOGOUT = {
    "session_logout",
    "WITH gone AS (DELETE FROM sessions WHERE user_id = $1 AND CASE $3 WHEN 'local' THEN id = $2::uuid "
    "WHEN 'others' THEN id <> $2::uuid ELSE true END RETURNING id) "
    "SELECT $1, jsonb_build_object('scope', $3::text, 'sessions', count(*)) FROM gone HAVING count(*) > 0"};
static const struct pg_statement LIST = {
    "session_list",
    "SELECT id, host(address), user_agent, " PG_US("created_at") ", " PG_US("refreshed_at") ", " PG_US(
        "expires_at") ", id = $2::uuid FROM sessions WHERE user_id = $1 AND expires_at > now() "
                      "ORDER BY refreshed_at DESC, id DESC LIMIT 100"};
static const struct pg_statement END = {
    "session_end", "DELETE FROM sessions WHERE user_id = $1 AND id = $2::uuid RETURNING id"};
static const struct pg_statement REHASH = {
    "session_rehash",
    "UPDATE users SET password_hash = $2 WHERE id = $1 AND password_hash = $3 RETURNING id"};
static const struct pg_statement VERIFY = {
    "session_verify",
    "SELECT u.email, " PG_US("u.created_at") " FROM users u JOIN sessions s ON s.user_id = u.id "
                                             "WHERE u.id = $2 AND u.is_active AND s.id = $1::uuid"};
static const struct pg_statement VERIFY_SERVICE = {
    "session_verify_service", "SELECT name, " PG_US("created_at") " FROM services WHERE id = $1::uuid"};
static const struct pg_statement HIGHEST_COST = {
    "session_highest_cost",
    "SELECT max(substr(password_hash, 5, 2))::bigint FROM users WHERE password_hash LIKE '$2b$__$%'"};
static const struct pg_statement PRUNE_SESSIONS = {
    "session_prune", "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < now() "
                     "LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};
static const struct pg_statement PRUNE_REVOCATIONS = {
    "revocation_prune",
    "DELETE FROM revocations WHERE grant_id IN (SELECT grant_id FROM revocations "
    "WHERE expires_at < now() - interval '5 minutes' LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};

enum { COLUMN_HASH = 7, COLUMN_ACTIVE, COLUMN_MFA };
enum {
    VERIFIED_MS = 1000, /* as long as a revocation may take to be known */
    VERIFIED_MAX = 4096,
};

const char *session_user_agent(struct request *request)
{
    enum { SHOWN_MAX = 255 };
    const char *given = request_variable(request, "HTTP_USER_AGENT");
    if (!given) {
        return NULL;
    }
    /* Bytes that are no UTF-8 would make PostgreSQL refuse the login. */
    char *text = arena_printf(request->arena, "%.*s", SHOWN_MAX, given);
    for (char *c = text; *c; c++) {
        *c = (unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e ? '?' : *c;
    }
    return text;
}

enum err session_params(struct request *request, struct pg_params *params, struct session_opened *ret_opened)
{
    const struct config *config = request->services->config;
    char *text = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uint8_t *seed = arena_alloc(request->arena, REFRESH_SEED_SIZE);
    struct refresh_token *token = arena_alloc(request->arena, sizeof(*token));
    uuid_v7(ret_opened->id);
    uuid_format(ret_opened->id, text);
    crypto_random(seed, REFRESH_SEED_SIZE);
    enum err e = refresh_derive(config, ret_opened->id, 0, seed, token);
    if (e) {
        return e;
    }
    ret_opened->refresh_token = token->text;
    pg_text(params, text);
    pg_text(params, request_variable(request, "REMOTE_ADDR"));
    pg_text(params, session_user_agent(request));
    pg_int(params, config->refresh_token_ttl_s);
    pg_bytes(params, seed, REFRESH_SEED_SIZE);
    pg_bytes(params, token->hash, sizeof(token->hash));
    return ERR_OK;
}

static const char *copy_text(struct arena *arena, const PGresult *row, int column)
{
    const char *text = pg_get_text(row, 0, column);
    return text ? arena_strdup(arena, text) : NULL;
}

void session_read_user(struct arena *arena, const PGresult *row, struct session_user *ret_user)
{
    *ret_user = (struct session_user){
        .user_id = pg_get_int(row, 0, 0),
        .workspace_id = pg_get_int(row, 0, 1),
        .email = arena_strdup(arena, pg_get_text(row, 0, 2)),
        .username = copy_text(arena, row, 3),
        .full_name = copy_text(arena, row, 4),
        .created_us = pg_get_int(row, 0, 5),
        .updated_us = pg_get_int(row, 0, 6),
    };
}

enum err session_token(struct request *request, const struct session_user *user, const uint8_t session_id[16],
                       const char **ret_token)
{
    const struct services *services = request->services;
    struct principal principal = {
        .kind = PRINCIPAL_USER, .user_id = user->user_id, .workspace_id = user->workspace_id};
    memcpy(principal.grant_id, session_id, sizeof(principal.grant_id));
    return token_issue(services->keyring, services->config, &principal, NULL, request->arena, ret_token);
}

enum err session_answer(struct request *request, struct response *response, int status,
                        const struct session_user *user, const struct session_opened *opened)
{
    const struct services *services = request->services;
    const char *token = opened->access_token;
    enum err e = token ? ERR_OK : session_token(request, user, opened->id, &token);
    if (e) {
        return e;
    }
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "access_token", token);
    json_add_string(answer, "token_type", "bearer");
    json_add_int(answer, "expires_in", services->config->access_token_ttl_s);
    json_add_string(answer, "refresh_token", opened->refresh_token);
    json_add_int(answer, "refresh_token_expires_in", services->config->refresh_token_ttl_s);
    struct json_object *account = json_object_new_object();
    json_add_int(account, "id", user->user_id);
    json_add_string(account, "email", user->email);
    json_add_string(account, "username", user->username);
    json_add_string(account, "full_name", user->full_name);
    json_add_time(account, "created_at", user->created_us);
    json_add_time(account, "updated_at", user->updated_us);
    json_add(answer, "user", account);
    response_json(response, status, answer);
    return ERR_OK;
}

/* The hash that another login stored while this one made its own, when it is of the same password. */
static const char *hash_of_another(struct request *request, int64_t user_id, const char *password,
                                   const char *old_hash)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, user_id);
    if (pg_query(request->services->pg, &BY_ID, &params, &row) != ERR_OK || PQntuples(row) == 0 ||
        !password_matches(request->services->hasher, password, pg_get_text(row, 0, COLUMN_HASH))) {
        return old_hash;
    }
    return arena_strdup(request->arena, pg_get_text(row, 0, COLUMN_HASH));
}

/* Store a stronger hash when the cost was raised since, and tell the one that is stored then. Failing
 * to is no reason to refuse: the next login tries again. */
static const char *rehash(struct request *request, int64_t user_id, const char *password,
                          const char *old_hash)
{
    const struct services *services = request->services;
    char hash[PASSWORD_HASH_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    if (!password_is_weaker(old_hash, services->config->bcrypt_cost) ||
        password_hash(services->hasher, password, services->config->bcrypt_cost, hash) != ERR_OK) {
        return old_hash;
    }
    pg_int(&params, user_id);
    pg_text(&params, hash);
    pg_text(&params, old_hash);
    enum err e = pg_query(services->pg, &REHASH, &params, &result);
    if (!e && PQntuples(result) == 0) {
        return hash_of_another(request, user_id, password, old_hash);
    }
    return e ? old_hash : arena_strdup(request->arena, hash);
}

/* One answer for every reason, so that it tells nobody which addresses exist. */
static enum err refuse_login(struct request *request, struct response *response)
{
    (void)challenge_bearer(request, response, NULL); /* RFC 9110 wants WWW-Authenticate with each 401 */
    return problem_say(&request->problem, ERR_UNAUTHENTICATED, "The address or the password is wrong.");
}

/* Whether `password` is that of the account in `result`, in the same time whether it is, is not, or
 * there is no account. */
static bool credentials_match(const struct services *services, const char *password, const PGresult *result)
{
    int64_t cost = services->config->bcrypt_cost;
    if (PQntuples(result) == 0) {
        password_waste(services->hasher, password, cost);
        return false;
    }
    /* bcrypt would cut a longer one at 72 bytes and could find it equal. */
    const char *hash = pg_get_text(result, 0, COLUMN_HASH);
    bool matches = password_matches(services->hasher, password, hash) &&
                   strlen(password) <= PASSWORD_MAX_BYTES && pg_get_bool(result, 0, COLUMN_ACTIVE);
    if (!matches) {
        password_waste_rest(services->hasher, password, hash, cost);
    }
    return matches;
}

/* Store a session for the account in `result`, under the hash that was checked, and a code if it has a second
 * factor. *ret_good is false when password or factor were changed meanwhile. */
static enum err store_session(struct request *request, const char *hash, bool has_code,
                              const PGresult *result, struct session_user *ret_user,
                              struct session_opened *ret_opened, bool *ret_good)
{
    struct session_opened session = {.access_token = NULL};
    struct pg_params params = {0};
    struct pg_params of_user = {0};
    PG_RESULT_AUTO opened = NULL;
    PG_RESULT_AUTO ended = NULL;
    const struct audit_change change = {
        .statement = &OPEN, .params = &params, .action = "session.opened", .kind = "session"};
    const struct audit_change crowding_out = {.statement = &CROWD_OUT,
                                              .params = &of_user,
                                              .action = "session.crowded_out",
                                              .kind = "user",
                                              .detail_column = 1};

    session_read_user(request->arena, result, ret_user);
    enum err e = session_params(request, &params, &session);
    pg_int(&params, ret_user->user_id);
    pg_text(&params, hash);
    pg_text(&params, has_code ? "t" : "f");
    request->principal.user_id = ret_user->user_id; /* for both logs */
    e = e ? e : audit_carry_out(request, &change, &opened);
    *ret_good = !e && PQntuples(opened) > 0;
    if (*ret_good) {
        *ret_opened = session;
        pg_int(&of_user, ret_user->user_id);
        (void)audit_carry_out(request, &crowding_out, &ended); /* the next login tries again */
    }
    return e;
}

/* Whoever failed is told nothing, and known only by the address they come from. Of what was typed nothing is
 * written: it may be a password. */
static enum err note_failure(struct request *request, const PGresult *result)
{
    const char *user = PQntuples(result) ? pg_get_text(result, 0, 0) : "unknown";
    const struct audit_entry entry = {.action = "session.login_failed",
                                      .subject = arena_printf(request->arena, "user:%s", user)};
    return audit_write(request->services->pg, request, &entry);
}

/* All addresses are. citext takes some other letters for ASCII ones, which would be further spellings of an
 * account that throttle_begin() counts apart. */
static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80) {
        text++;
    }
    return !*text;
}

static enum err open_judged(struct request *request, const char *email, const char *password,
                            struct session_user *ret_user, struct session_opened *ret_opened,
                            enum session_verdict *ret_verdict)
{
    const struct services *services = request->services;
    struct pg_params by_email = {0};
    PG_RESULT_AUTO result = NULL;
    bool good;

    *ret_verdict = SESSION_REFUSED;
    if (!keyring_is_loaded(services->keyring)) {
        return ERR_UNAVAILABLE; /* before a quarter of a second is spent on a hash for nothing */
    }
    enum err e = throttle_begin(request, email);
    pg_text(&by_email, is_ascii(email) ? email : "");
    e = e ? e : pg_query(services->pg, &BY_EMAIL, &by_email, &result);
    if (e) {
        return e;
    }
    if (!credentials_match(services, password, result)) {
        return note_failure(request, result);
    }
    e = throttle_end(request, email);
    if (e) {
        return e;
    }
    const char *hash =
        rehash(request, pg_get_int(result, 0, 0), password, pg_get_text(result, 0, COLUMN_HASH));
    if (pg_get_bool(result, 0, COLUMN_MFA)) {
        session_read_user(request->arena, result, ret_user);
        *ret_verdict = SESSION_NEEDS_CODE;
        ret_user->password_hash = arena_strdup(request->arena, hash);
        return ERR_OK;
    }
    e = store_session(request, hash, false, result, ret_user, ret_opened, &good);
    *ret_verdict = good ? SESSION_OPENED : SESSION_REFUSED;
    return e;
}

enum err session_open(struct request *request, const char *email, const char *password,
                      struct session_user *ret_user, struct session_opened *ret_opened,
                      enum session_verdict *ret_verdict)
{
    enum err e = open_judged(request, email, password, ret_user, ret_opened, ret_verdict);
    if (!e || e == ERR_TOO_MANY) {
        enum metrics_login result = e                                    ? METRICS_LOGIN_DELAYED
                                    : *ret_verdict == SESSION_OPENED     ? METRICS_LOGIN_OPENED
                                    : *ret_verdict == SESSION_NEEDS_CODE ? METRICS_LOGIN_CODE
                                                                         : METRICS_LOGIN_REFUSED;
        atomic_fetch_add_explicit(&request->services->metrics->logins[result], 1, memory_order_relaxed);
    }
    return e;
}

enum err session_find_user(struct request *request, int64_t user_id, PGresult **ret_row,
                           const char **ret_hash)
{
    struct pg_params params = {0};
    pg_int(&params, user_id);
    enum err e = pg_query(request->services->pg, &BY_ID, &params, ret_row);
    if (!e && (PQntuples(*ret_row) == 0 || !pg_get_bool(*ret_row, 0, COLUMN_ACTIVE))) {
        return ERR_NOT_FOUND;
    }
    *ret_hash = e ? NULL : pg_get_text(*ret_row, 0, COLUMN_HASH);
    return e;
}

enum err session_open_known(struct request *request, const PGresult *row, struct session_user *ret_user,
                            struct session_opened *ret_opened, bool *ret_good)
{
    return store_session(request, pg_get_text(row, 0, COLUMN_HASH), true, row, ret_user, ret_opened,
                         ret_good);
}

enum err session_login(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"email", FIELD_STRING, FIELD_REQUIRED, 1, 254, NULL},
        {"password", FIELD_STRING, FIELD_REQUIRED, 1, 1024, NULL},
    };
    enum { EMAIL, PASSWORD, COUNT };
    struct value values[COUNT];
    struct session_user user;
    struct session_opened session;
    enum session_verdict verdict;
    JSON_AUTO body = NULL;

    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    e = e ? e : session_open(request, values[EMAIL].text, values[PASSWORD].text, &user, &session, &verdict);
    if (e) {
        return e;
    }
    switch (verdict) {
    case SESSION_OPENED:
        return session_answer(request, response, 200, &user, &session);
    case SESSION_NEEDS_CODE:
        return mfa_answer_challenge(request, response, &user);
    default:
        return refuse_login(request, response);
    }
}

/* The first two parameters of statements about the caller's sessions: the account, and the session that asks.
 */
static void caller_params(struct request *request, struct pg_params *params)
{
    char *session = arena_alloc(request->arena, UUID_TEXT_SIZE);
    uuid_format(request->principal.grant_id, session);
    pg_int(params, request->principal.user_id);
    pg_text(params, session);
}

static const char *check_scope(const char *text, size_t length)
{
    (void)length;
    bool known = strcmp(text, "local") == 0 || strcmp(text, "others") == 0 || strcmp(text, "global") == 0;
    return known ? NULL : "must be local, others or global";
}

enum err session_logout(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {{"scope", FIELD_STRING, 0, 1, 16, check_scope}};
    struct value scope;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    enum err e = validate_query(request, QUERY, 1, &scope);
    if (e) {
        return e;
    }
    caller_params(request, &params);
    pg_text(&params, scope.present ? scope.text : "local");
    const struct audit_change change = {.statement = &LOGOUT,
                                        .params = &params,
                                        .action = "session.logged_out",
                                        .kind = "user",
                                        .detail_column = 1};
    e = audit_carry_out(request, &change, &result);
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

static struct json_object *describe(const PGresult *rows, int row)
{
    struct json_object *item = json_object_new_object();
    json_add_string(item, "id", pg_get_text(rows, row, 0));
    json_add_string(item, "address", pg_get_text(rows, row, 1));
    json_add_string(item, "user_agent", pg_get_text(rows, row, 2));
    json_add_time(item, "created_at", pg_get_int(rows, row, 3));
    json_add_time(item, "last_used_at", pg_get_int(rows, row, 4));
    json_add_time(item, "expires_at", pg_get_int(rows, row, 5));
    json_add(item, "current", json_object_new_boolean(pg_get_bool(rows, row, 6)));
    return item;
}

enum err session_list(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    caller_params(request, &params);
    enum err e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer_all(response, rows, describe); /* an account has at most a hundred */
    }
    return e;
}

enum err session_end(struct request *request, struct response *response)
{
    const char *id = request_param(request, "id");
    uint8_t parsed[16];
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    enum err e = uuid_parse(id, parsed) ? ERR_OK : ERR_NOT_FOUND;
    pg_int(&params, request->principal.user_id);
    pg_text(&params, id);
    const struct audit_change change = {
        .statement = &END, .params = &params, .action = "session.ended", .kind = "session"};
    e = e ? e : audit_carry_out(request, &change, &result);
    if (e == ERR_NOT_FOUND || (!e && PQntuples(result) == 0)) {
        return problem_say(&request->problem, ERR_NOT_FOUND, "There is no session with this id.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

/* `grant` is the session, or the service. */
static enum err verify_anew(struct request *request, struct response *response, const char *grant)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    bool service = request->principal.kind == PRINCIPAL_SERVICE;
    pg_text(&params, grant);
    if (!service) {
        pg_int(&params, request->principal.user_id);
    }
    enum err e = pg_query(request->services->pg, service ? &VERIFY_SERVICE : &VERIFY, &params, &result);
    if (e) {
        return e;
    }
    if (PQntuples(result) == 0) {
        return challenge_bearer(request, response,
                                service ? "the service is gone" : "the account or session is gone");
    }
    JSON_AUTO answer = json_object_new_object();
    if (service) {
        json_add_string(answer, "type", "service");
        json_add_string(answer, "client_id", grant);
        json_add_string(answer, "name", pg_get_text(result, 0, 0));
    } else {
        json_add_int(answer, "id", request->principal.user_id);
        json_add_string(answer, "email", pg_get_text(result, 0, 0));
    }
    json_add_time(answer, "created_at", pg_get_int(result, 0, 1));
    response_json(response, 200, answer);
    return ERR_OK;
}

/* Answer as a moment ago. */
static bool verify_again(struct request *request, struct response *response, const char *key)
{
    struct buf kept;
    buf_init(&kept, VERIFIED_MAX);
    bool found = cache_get(request->services->cache, key, strlen(key), &kept);
    if (found) {
        response_text(response, 200, "application/json", kept.data, kept.length);
    }
    buf_free(&kept);
    return found;
}

/* The token and the revocations were checked for this very request (bearer.c). Kept is what the database
 * says besides, for a second from when it was asked. */
enum err session_verify(struct request *request, struct response *response)
{
    char grant[UUID_TEXT_SIZE];
    uuid_format(request->principal.grant_id, grant);
    const char *key = arena_printf(request->arena, "verify|%s|%" PRId64, grant, request->principal.user_id);
    if (verify_again(request, response, key)) {
        return ERR_OK;
    }
    int64_t asked_us = clock_monotonic_us();
    enum err e = verify_anew(request, response, grant);
    if (!e) {
        cache_put(request->services->cache, key, strlen(key), buf_text(response->body),
                  response->body->length, VERIFIED_MS - (clock_monotonic_us() - asked_us) / 1000);
    }
    return e;
}

enum err session_note_cost(struct pg *pg)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &HIGHEST_COST, NULL, &result);
    if (!e) {
        password_note_stored(pg_get_int(result, 0, 0));
    }
    return e;
}

enum err session_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO sessions = NULL;
    PG_RESULT_AUTO revocations = NULL;
    enum err e = pg_query(pg, &PRUNE_SESSIONS, NULL, &sessions);
    e = e ? e : pg_query(pg, &PRUNE_REVOCATIONS, NULL, &revocations);
    if (!e) {
        *ret_more = PQntuples(sessions) > 0 || PQntuples(revocations) > 0;
    }
    return e;
}
