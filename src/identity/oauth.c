/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/oauth.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/bearer.h"
#include "identity/client.h"
#include "identity/ratelimit.h"
#include "identity/refresh.h"
#include "identity/revocations.h"
#include "identity/session.h"
#include "identity/token.h"

static const struct pg_statement EMAIL = {"oauth_email",
                                          "SELECT u.email FROM users u JOIN sessions s ON s.user_id = u.id "
                                          "WHERE s.id = $1::uuid AND u.id = $2 AND u.is_active"};
static const struct pg_statement NAME = {"oauth_name", "SELECT name FROM services WHERE id = $1::uuid"};
static const struct pg_statement REVOKE = {
    "oauth_revoke", "WITH revoked AS (INSERT INTO revocations (grant_id, revoked_at, expires_at) "
                    "VALUES ($1::uuid, clock_timestamp(), to_timestamp($2::bigint) + interval '15 minutes') "
                    "ON CONFLICT DO NOTHING RETURNING grant_id) "
                    "SELECT grant_id, jsonb_build_object('of', $3::text) FROM revoked"};

/* ---- POST /token ---- */

enum {
    GRANT_TYPE,
    USERNAME,
    PASSWORD,
    REFRESH_TOKEN,
    SCOPE,
    TOKEN_CLIENT_ID,
    TOKEN_CLIENT_SECRET,
    TOKEN_FIELDS
};

static const struct field TOKEN_FORM[TOKEN_FIELDS] = {
    {"grant_type", FIELD_STRING, FIELD_REQUIRED, 1, 64, NULL},
    {"username", FIELD_STRING, 0, 1, 254, NULL},
    {"password", FIELD_STRING, 0, 1, 1024, NULL},
    {"refresh_token", FIELD_STRING, 0, 1, 512, NULL},
    {"scope", FIELD_STRING, 0, 1, 1024, NULL},
    {"client_id", FIELD_STRING, 0, 1, 128, NULL},
    {"client_secret", FIELD_STRING, 0, 1, 128, NULL},
};

struct grant {
    struct request *request;
    struct response *response;
    const struct value *values;
    struct client client;
};

static enum err answer_token(const struct grant *grant, const char *access_token, const char *refresh_token)
{
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "access_token", access_token);
    json_add_string(answer, "token_type", "Bearer");
    json_add_int(answer, "expires_in", grant->request->services->config->access_token_ttl_s);
    if (refresh_token) {
        json_add_string(answer, "refresh_token", refresh_token);
    }
    response_json(grant->response, 200, answer);
    return ERR_OK;
}

static enum err answer_session(const struct grant *grant, const struct session_user *user,
                               const struct session_opened *opened)
{
    const char *token = opened->access_token;
    enum err e = token ? ERR_OK : session_token(grant->request, user, opened->id, &token);
    return e ? e : answer_token(grant, token, opened->refresh_token);
}

static enum err need(const struct grant *grant, int field)
{
    return problem_oauth(&grant->request->problem, ERR_INVALID, "invalid_request", "%s is required.",
                         TOKEN_FORM[field].name);
}

static enum err refuse_grant(const struct grant *grant, const char *why)
{
    return problem_oauth(&grant->request->problem, ERR_BAD_REQUEST, "invalid_grant", "%s", why);
}

/* These two grants are our own login's. */
static enum err first_party_only(const struct grant *grant)
{
    return grant->client.is_service
               ? problem_oauth(&grant->request->problem, ERR_BAD_REQUEST, "unauthorized_client",
                               "A service gets its tokens by client_credentials.")
               : ERR_OK;
}

static enum err grant_password(const struct grant *grant)
{
    struct request *request = grant->request;
    struct session_user user;
    struct session_opened opened;
    enum session_verdict verdict;
    enum err e = first_party_only(grant);
    if (!e && !grant->values[USERNAME].present) {
        e = need(grant, USERNAME);
    }
    if (!e && !grant->values[PASSWORD].present) {
        e = need(grant, PASSWORD);
    }
    if (e) {
        return e;
    }
    if (!request->services->hasher) {
        /* The web server sends the request once more, to the pool for this (nginx/tallygate-site.conf.in). */
        response_pass_on(grant->response, "@tallygate_auth");
        return ERR_OK;
    }
    e = ratelimit_apply_login(request, grant->response);
    if (e) {
        return e;
    }
    e = session_open(request, grant->values[USERNAME].text, grant->values[PASSWORD].text, &user, &opened,
                     &verdict);
    if (e) {
        return e;
    }
    if (verdict == SESSION_NEEDS_CODE) {
        return refuse_grant(grant, "The account has a second factor: log in at /auth/login.");
    }
    return verdict == SESSION_OPENED ? answer_session(grant, &user, &opened)
                                     : refuse_grant(grant, "The address or the password is wrong.");
}

static enum err grant_refresh(const struct grant *grant)
{
    struct session_user user;
    struct session_opened opened;
    bool good;
    enum err e = first_party_only(grant);
    if (!e && !grant->values[REFRESH_TOKEN].present) {
        e = need(grant, REFRESH_TOKEN);
    }
    e = e ? e : refresh_use(grant->request, grant->values[REFRESH_TOKEN].text, &user, &opened, &good);
    if (e) {
        return e;
    }
    return good ? answer_session(grant, &user, &opened)
                : refuse_grant(grant, "The refresh token is not valid, or its session has ended.");
}

static enum err grant_client_credentials(const struct grant *grant)
{
    const struct services *services = grant->request->services;
    struct principal principal = {.kind = PRINCIPAL_SERVICE};
    const char *token;
    if (!grant->client.is_service) {
        return client_refuse(grant->request, grant->response, "Only a service has credentials of its own.");
    }
    memcpy(principal.grant_id, grant->client.service.id, sizeof(principal.grant_id));
    enum err e = token_issue(services->keyring, services->config, &principal, grant->client.service.name,
                             grant->request->arena, &token);
    return e ? e : answer_token(grant, token, NULL);
}

enum err oauth_token(struct request *request, struct response *response)
{
    struct value values[TOKEN_FIELDS];
    struct grant grant = {.request = request, .response = response, .values = values};
    enum err e = validate_form(request, TOKEN_FORM, TOKEN_FIELDS, values);
    e = e ? e
          : client_authenticate(request, response, &values[TOKEN_CLIENT_ID], &values[TOKEN_CLIENT_SECRET],
                                &grant.client);
    if (e) {
        return e;
    }
    if (values[SCOPE].present) {
        return problem_oauth(&request->problem, ERR_BAD_REQUEST, "invalid_scope",
                             "Access tokens have no scopes here. Leave it out.");
    }
    const char *type = values[GRANT_TYPE].text;
    if (strcmp(type, "client_credentials") == 0) {
        return grant_client_credentials(&grant);
    }
    if (strcmp(type, "refresh_token") == 0) {
        return grant_refresh(&grant);
    }
    if (strcmp(type, "password") == 0 && request->services->config->password_grant) {
        return grant_password(&grant);
    }
    return problem_oauth(&request->problem, ERR_BAD_REQUEST, "unsupported_grant_type",
                         "This grant_type is not served here.");
}

/* ---- POST /oauth/revoke and /oauth/introspect ---- */

enum { TOKEN, TYPE_HINT, CLIENT_ID, CLIENT_SECRET, ABOUT_FIELDS };

/* The hint is not needed: a token shows what it is. */
static const struct field ABOUT_FORM[ABOUT_FIELDS] = {
    {"token", FIELD_STRING, FIELD_REQUIRED, 1, TOKEN_MAX_BYTES, NULL},
    {"token_type_hint", FIELD_STRING, 0, 1, 64, NULL},
    {"client_id", FIELD_STRING, 0, 1, 128, NULL},
    {"client_secret", FIELD_STRING, 0, 1, 128, NULL},
};

/* What an access token says. *ret_good is false when it is not, or no longer, good for anything. */
static enum err read_access_token(struct request *request, const char *token, struct token_claims *ret_claims,
                                  bool *ret_good)
{
    const struct services *services = request->services;
    const char *reason;
    enum err e = token_verify(services->keyring, services->config, token, clock_now_us() / USEC_PER_SEC,
                              ret_claims, &reason);
    e = e ? e
          : revocations_check(services->revocations, ret_claims->principal.grant_id,
                              ret_claims->principal.token_id);
    *ret_good = !e;
    return e == ERR_UNAUTHENTICATED ? ERR_OK : e;
}

static bool is_refresh_token(const char *token)
{
    return strncmp(token, REFRESH_PREFIX, strlen(REFRESH_PREFIX)) == 0;
}

/* RFC 7009 section 2.1: a client may revoke what it was given, and nothing else. */
static enum err check_owner(struct request *request, const struct client *client,
                            const struct principal *principal)
{
    bool own = client->is_service ? principal->kind == PRINCIPAL_SERVICE &&
                                        memcmp(client->service.id, principal->grant_id, 16) == 0
                                  : principal->kind == PRINCIPAL_USER;
    return own ? ERR_OK
               : problem_oauth(&request->problem, ERR_BAD_REQUEST, "invalid_grant",
                               "The token was given to another client.");
}

static enum err revoke_access_token(struct request *request, const struct client *client, const char *token)
{
    struct token_claims claims;
    char id[UUID_TEXT_SIZE], grant[UUID_TEXT_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO revoked = NULL;
    bool good;
    const struct audit_change change = {.statement = &REVOKE,
                                        .params = &params,
                                        .action = "token.revoked",
                                        .kind = "token",
                                        .detail_column = 1};
    enum err e = read_access_token(request, token, &claims, &good);
    if (e || !good) {
        return e;
    }
    uuid_format(claims.principal.token_id, id);
    pg_text(&params, id);
    pg_int(&params, claims.expires_s);
    uuid_format(claims.principal.grant_id, grant);
    pg_text(&params,
            arena_printf(request->arena, "%s:%s", client->is_service ? "service" : "session", grant));
    e = check_owner(request, client, &claims.principal);
    return e ? e : audit_carry_out(request, &change, &revoked);
}

enum err oauth_revoke(struct request *request, struct response *response)
{
    static const struct principal OF_A_USER = {.kind = PRINCIPAL_USER};
    struct value values[ABOUT_FIELDS];
    struct client client;
    enum err e = validate_form(request, ABOUT_FORM, ABOUT_FIELDS, values);
    e = e ? e : client_authenticate(request, response, &values[CLIENT_ID], &values[CLIENT_SECRET], &client);
    if (e) {
        return e;
    }
    const char *token = values[TOKEN].text;
    if (is_refresh_token(token)) {
        e = check_owner(request, &client, &OF_A_USER);
        e = e ? e : refresh_revoke(request, token);
    } else {
        e = revoke_access_token(request, &client, token);
    }
    if (!e) {
        response_empty(response, 200); /* also when it was none (RFC 7009 section 2.2) */
    }
    return e;
}

/* Who asks about tokens: a service, with its credentials or an access token of its own. */
static enum err authenticate_service(struct request *request, struct response *response,
                                     const struct value *values)
{
    const char *header = request_variable(request, "HTTP_AUTHORIZATION");
    struct client client;
    if (header && strncasecmp(header, "Bearer ", 7) == 0) {
        enum err e = bearer_authenticate(request, response);
        return e || request->principal.kind == PRINCIPAL_SERVICE
                   ? e
                   : problem_oauth(&request->problem, ERR_FORBIDDEN, "insufficient_scope",
                                   "Only services may ask about tokens.");
    }
    enum err e = client_authenticate(request, response, &values[CLIENT_ID], &values[CLIENT_SECRET], &client);
    return e || client.is_service ? e
                                  : client_refuse(request, response, "Only services may ask about tokens.");
}

static void describe(struct json_object *answer, const struct config *config, int64_t issued_s,
                     int64_t expires_s)
{
    json_add(answer, "active", json_object_new_boolean(true));
    json_add_string(answer, "iss", config->issuer);
    json_add_int(answer, "iat", issued_s);
    json_add_int(answer, "exp", expires_s);
}

static enum err introspect_refresh_token(struct request *request, const char *token,
                                         struct json_object *answer, bool *ret_good)
{
    struct refresh_state state;
    char session[UUID_TEXT_SIZE];
    enum err e = refresh_look(request, token, &state, ret_good);
    if (e || !*ret_good) {
        return e;
    }
    describe(answer, request->services->config, state.issued_us / USEC_PER_SEC,
             state.expires_us / USEC_PER_SEC);
    uuid_format(state.session_id, session);
    json_add_string(answer, "client_id", TOKEN_FIRST_PARTY);
    json_add_string(answer, "sub", arena_printf(request->arena, "%lld", (long long)state.user_id));
    json_add_string(answer, "username", state.email);
    json_add_string(answer, "sid", session);
    return ERR_OK;
}

/* Ask the database too, which knows an account's address, and of its end at once. */
static enum err introspect_access_token(struct request *request, const char *token,
                                        struct json_object *answer, bool *ret_good)
{
    struct pg *pg = request->services->pg;
    struct token_claims claims;
    char id[UUID_TEXT_SIZE], grant[UUID_TEXT_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    enum err e = read_access_token(request, token, &claims, ret_good);
    if (e || !*ret_good) {
        return e;
    }
    const struct principal *principal = &claims.principal;
    bool service = principal->kind == PRINCIPAL_SERVICE;
    uuid_format(principal->token_id, id);
    uuid_format(principal->grant_id, grant);
    pg_text(&params, grant);
    if (!service) {
        pg_int(&params, principal->user_id);
    }
    e = pg_query(pg, service ? &NAME : &EMAIL, &params, &result);
    *ret_good = !e && PQntuples(result) > 0;
    if (!*ret_good) {
        return e;
    }
    describe(answer, request->services->config, claims.issued_s, claims.expires_s);
    json_add_string(answer, "token_type", "Bearer");
    json_add_string(answer, "aud", request->services->config->audience);
    json_add_int(answer, "nbf", claims.not_before_s);
    json_add_string(answer, "jti", id);
    json_add_string(answer, "sid", grant);
    json_add_string(answer, "client_id", service ? grant : TOKEN_FIRST_PARTY);
    json_add_string(answer, "sub",
                    service ? grant : arena_printf(request->arena, "%lld", (long long)principal->user_id));
    if (service) {
        json_add_string(answer, "type", "service");
        json_add_string(answer, "name", pg_get_text(result, 0, 0));
    } else {
        json_add_string(answer, "username", pg_get_text(result, 0, 0));
        json_add_int(answer, "ws", principal->workspace_id);
    }
    return ERR_OK;
}

enum err oauth_introspect(struct request *request, struct response *response)
{
    struct value values[ABOUT_FIELDS];
    bool good = false;
    JSON_AUTO answer = json_object_new_object();
    enum err e = validate_form(request, ABOUT_FORM, ABOUT_FIELDS, values);
    e = e ? e : authenticate_service(request, response, values);
    if (e) {
        return e;
    }
    const char *token = values[TOKEN].text;
    e = is_refresh_token(token) ? introspect_refresh_token(request, token, answer, &good)
                                : introspect_access_token(request, token, answer, &good);
    if (e) {
        return e;
    }
    if (!good) {
        json_add(answer, "active",
                 json_object_new_boolean(false)); /* and nothing else: RFC 7662 section 2.2 */
    }
    response_json(response, 200, answer);
    return ERR_OK;
}
