/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/account.h"

#include <string.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/validate.h"
#include "identity/keyring.h"
#include "identity/password.h"
#include "identity/session.h"
#include "queries.h"

static const struct pg_statement TAKEN = {"account_taken",
                                          "SELECT EXISTS (SELECT FROM users WHERE email = $1::text::citext)"};
static const struct pg_statement REGISTER = {"account_register", sql_account_register};
static const struct pg_statement PROFILE = {
    "account_profile", "SELECT email, username, full_name, " PG_US("created_at") ", " PG_US(
                           "updated_at") ", password_hash FROM users WHERE id = $1 AND is_active"};
/* Taken first, in a transaction, so that the snapshot of what follows shows every session that a login
 * opened meanwhile: opening one holds the same row (session.c). */
static const struct pg_statement LOCK = {"account_lock", "SELECT FROM users WHERE id = $1 FOR UPDATE"};
static const struct pg_statement UPDATE = {"account_update", sql_account_update};
static const struct pg_statement ROLE = {"account_role",
                                         "SELECT role FROM users WHERE id = $1 AND is_active"};
static const struct pg_statement DELETE = {"account_delete", sql_account_delete};
static const struct pg_statement SET_ROLE = {
    "account_set_role",
    "UPDATE users SET role = $2, updated_at = now() WHERE email = $1::text::citext RETURNING id"};
static const struct pg_statement PURGE = {"account_purge", sql_account_purge};

enum { USERNAME_MAX = 64, FULL_NAME_MAX = 200 };

static const char *check_password(const char *text, size_t length)
{
    (void)text;
    if (length < PASSWORD_MIN_BYTES) {
        return "must have at least 8 bytes";
    }
    return length > PASSWORD_MAX_BYTES ? "must have at most 72 bytes: bcrypt would ignore the rest" : NULL;
}

enum err account_register(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"email", FIELD_STRING, FIELD_REQUIRED, 3, 254, validate_email},
        {"password", FIELD_BYTES, FIELD_REQUIRED, 0, 1024, check_password},
        {"username", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, USERNAME_MAX, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, FULL_NAME_MAX, NULL},
    };
    enum { EMAIL, PASSWORD, USERNAME, FULL_NAME, COUNT };
    const struct services *services = request->services;
    struct value values[COUNT];
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO taken = NULL;
    PG_RESULT_AUTO result = NULL;
    char hash[PASSWORD_HASH_SIZE];
    struct session_opened session = {.access_token = NULL};

    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    if (!keyring_is_loaded(services->keyring)) {
        return ERR_UNAVAILABLE;
    }
    /* Asked before the costly hash; the unique key decides in the end. */
    struct pg_params by_email = {0};
    pg_text(&by_email, values[EMAIL].text);
    e = pg_query(services->pg, &TAKEN, &by_email, &taken);
    if (!e && pg_get_bool(taken, 0, 0)) {
        e = ERR_CONFLICT;
    }
    e = e ? e : password_hash(services->hasher, values[PASSWORD].text, services->config->bcrypt_cost, hash);
    if (!e) {
        struct pg_params params = {0};
        e = session_params(request, &params, &session);
        pg_text(&params, values[EMAIL].text);
        pg_text(&params, hash);
        pg_text(&params, values[USERNAME].text);
        pg_text(&params, values[FULL_NAME].text);
        e = e ? e : pg_query(services->pg, &REGISTER, &params, &result);
    }
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "An account with this address exists already.");
    }
    if (e) {
        return e;
    }
    struct session_user user = {
        .user_id = pg_get_int(result, 0, 0),
        .workspace_id = pg_get_int(result, 0, 1),
        .email = values[EMAIL].text,
        .username = values[USERNAME].text,
        .full_name = values[FULL_NAME].text,
        .created_us = pg_get_int(result, 0, 2),
        .updated_us = pg_get_int(result, 0, 2),
    };
    request->principal.user_id = user.user_id; /* for the log */
    return session_answer(request, response, 201, &user, &session);
}

/* A statement about one account, the first parameter, to run with the account's row locked. */
struct locked_statement {
    const struct pg_statement *statement;
    const struct pg_params *params;
    int64_t user_id;
    PGresult **ret_result;
};

static enum err run_locked(struct pg *pg, void *argument)
{
    const struct locked_statement *locked = argument;
    struct pg_params params = {0};
    pg_int(&params, locked->user_id);
    enum err e = pg_query(pg, &LOCK, &params, NULL);
    return e ? e : pg_query(pg, locked->statement, locked->params, locked->ret_result);
}

static enum err load_profile(struct request *request, struct response *response, PGresult **ret_result)
{
    struct pg_params params = {0};
    pg_int(&params, request->principal.user_id);
    enum err e = pg_query(request->services->pg, &PROFILE, &params, ret_result);
    if (!e && PQntuples(*ret_result) == 0) {
        return challenge_bearer(request, response, "the account is gone");
    }
    return e;
}

/* The first five columns of PROFILE and of UPDATE's answer are the same. */
static void answer_profile(struct request *request, struct response *response, const PGresult *result)
{
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "id", request->principal.user_id);
    json_add_string(answer, "email", pg_get_text(result, 0, 0));
    json_add_string(answer, "username", pg_get_text(result, 0, 1));
    json_add_string(answer, "full_name", pg_get_text(result, 0, 2));
    json_add_time(answer, "created_at", pg_get_int(result, 0, 3));
    json_add_time(answer, "updated_at", pg_get_int(result, 0, 4));
    response_json(response, 200, answer);
}

enum err account_profile(struct request *request, struct response *response)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = load_profile(request, response, &result);
    if (!e) {
        answer_profile(request, response, result);
    }
    return e;
}

/* Whether the caller proved to know the password, where a change needs that. */
static enum err check_current(struct request *request, const struct value *current, const char *hash)
{
    if (!current->present) {
        return problem_field(&request->problem, "current_password", "required",
                             "is required to change the password or the address");
    }
    if (current->length > PASSWORD_MAX_BYTES ||
        !password_matches(request->services->hasher, current->text, hash)) {
        problem_field(&request->problem, "current_password", "wrong", "is not the account's password");
        return ERR_FORBIDDEN;
    }
    return ERR_OK;
}

enum { EMAIL, PASSWORD, USERNAME, FULL_NAME, CURRENT, PROFILE_FIELDS };

/* Carry out a change that was checked against `old_hash`. */
static enum err change_profile(struct request *request, const struct value *values, const char *new_hash,
                               const char *old_hash, PGresult **ret_result)
{
    struct pg_params params = {0};
    char session[UUID_TEXT_SIZE];
    uuid_format(request->principal.grant_id, session);
    pg_int(&params, request->principal.user_id);
    pg_text(&params, session);
    pg_text(&params, values[EMAIL].text);
    pg_text(&params, new_hash);
    pg_text(&params, values[USERNAME].present ? "t" : "f");
    pg_text(&params, values[USERNAME].text);
    pg_text(&params, values[FULL_NAME].present ? "t" : "f");
    pg_text(&params, values[FULL_NAME].text);
    pg_text(&params, old_hash);
    struct locked_statement locked = {&UPDATE, &params, request->principal.user_id, ret_result};
    enum err e = pg_transaction(request->services->pg, run_locked, &locked);
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "Another account has this address.");
    }
    if (!e && PQntuples(*ret_result) == 0) {
        /* The password was changed or the account deleted while we hashed. */
        return problem_say(&request->problem, ERR_CONFLICT,
                           "The account was changed meanwhile; look and try again.");
    }
    return e;
}

enum err account_update(struct request *request, struct response *response)
{
    static const struct field FIELDS[PROFILE_FIELDS] = {
        {"email", FIELD_STRING, 0, 3, 254, validate_email},
        {"password", FIELD_BYTES, 0, 0, 1024, check_password},
        {"username", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, USERNAME_MAX, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, FULL_NAME_MAX, NULL},
        {"current_password", FIELD_STRING, 0, 1, 1024, NULL},
    };
    const struct services *services = request->services;
    struct value values[PROFILE_FIELDS];
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO before = NULL;
    PG_RESULT_AUTO after = NULL;
    char hash[PASSWORD_HASH_SIZE];

    enum err e = validate_body(request, FIELDS, PROFILE_FIELDS, &body, values);
    if (e) {
        return e;
    }
    bool sensitive = values[EMAIL].present || values[PASSWORD].present;
    if (!sensitive && !values[USERNAME].present && !values[FULL_NAME].present) {
        return problem_say(&request->problem, ERR_INVALID,
                           "Give at least one of email, password, username and full_name.");
    }
    e = load_profile(request, response, &before);
    if (!e && sensitive && services->config->profile_requires_password) {
        e = check_current(request, &values[CURRENT], pg_get_text(before, 0, 5));
    }
    if (!e && values[PASSWORD].present) {
        e = password_hash(services->hasher, values[PASSWORD].text, services->config->bcrypt_cost, hash);
    }
    if (!e) {
        e = change_profile(request, values, values[PASSWORD].present ? hash : NULL, pg_get_text(before, 0, 5),
                           &after);
    }
    if (!e) {
        answer_profile(request, response, after);
    }
    return e;
}

enum err account_delete(struct request *request, struct response *response)
{
    struct pg *pg = request->services->pg;
    int64_t target = request_param_int(request, "id");
    PG_RESULT_AUTO role = NULL;
    PG_RESULT_AUTO deleted = NULL;

    struct pg_params caller = {0};
    pg_int(&caller, request->principal.user_id);
    enum err e = pg_query(pg, &ROLE, &caller, &role);
    if (e) {
        return e;
    }
    if (PQntuples(role) == 0) {
        return challenge_bearer(request, response, "the account is gone");
    }
    if (target != request->principal.user_id && strcmp(pg_get_text(role, 0, 0), "admin") != 0) {
        return problem_say(&request->problem, ERR_FORBIDDEN,
                           "Only administrators may delete another's account.");
    }
    struct pg_params params = {0};
    pg_int(&params, target);
    struct locked_statement locked = {&DELETE, &params, target, &deleted};
    e = pg_transaction(pg, run_locked, &locked);
    if (!e && PQntuples(deleted) == 0) {
        return problem_say(&request->problem, ERR_NOT_FOUND, "There is no account with this id.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err account_set_role(struct pg *pg, const char *email, const char *role)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_text(&params, email);
    pg_text(&params, role);
    enum err e = pg_query(pg, &SET_ROLE, &params, &result);
    return e ? e : PQntuples(result) ? ERR_OK : ERR_NOT_FOUND;
}

enum err account_purge_closed(struct pg *pg, int64_t limit, int64_t *ret_erased)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, limit);
    enum err e = pg_query(pg, &PURGE, &params, &result);
    if (!e) {
        *ret_erased = pg_get_int(result, 0, 0);
    }
    return e;
}
