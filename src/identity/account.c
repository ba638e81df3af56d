/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/account.h"

#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/keyring.h"
#include "identity/mail.h"
#include "identity/password.h"
#include "identity/proof.h"
#include "identity/session.h"
#include "identity/strength.h"
#include "identity/throttle.h"
#include "identity/user.h"
#include "queries.h"

static const struct pg_statement TAKEN = {"account_taken",
                                          "SELECT EXISTS (SELECT FROM users WHERE email = $1::text::citext)"};
static const struct pg_statement REGISTER = {"account_register", sql_account_register};
static const struct pg_statement PROFILE = {
    "account_profile", "SELECT id, email, username, full_name, " PG_US("created_at") ", " PG_US(
                           "updated_at") ", password_hash FROM users WHERE id = $1 AND is_active"};
static const struct pg_statement UPDATE = {"account_update", sql_account_update};
static const struct pg_statement DELETE = {"account_delete", sql_account_delete};
static const struct pg_statement EXISTS = {"account_exists",
                                           "SELECT is_last_admin(id) FROM users WHERE id = $1"};
static const struct pg_statement PURGE = {"account_purge", sql_account_purge};

/* Of PROFILE; of UPDATE the first six, and then what the audit log says. */
enum {
    COLUMN_ID,
    COLUMN_EMAIL,
    COLUMN_USERNAME,
    COLUMN_FULL_NAME,
    COLUMN_CREATED,
    COLUMN_UPDATED,
    COLUMN_HASH,
    COLUMN_DETAIL = COLUMN_HASH
};
enum { DELETED_DETAIL = 1 };

enum { NEW_EMAIL, NEW_PASSWORD, NEW_USERNAME, NEW_FULL_NAME, NEW_FIELDS };

static enum err read_new(struct request *request, struct json_object **ret_body,
                         struct value values[NEW_FIELDS])
{
    static const struct field FIELDS[NEW_FIELDS] = {
        {"email", FIELD_STRING, FIELD_REQUIRED, 3, 254, validate_email},
        {"password", FIELD_BYTES, FIELD_REQUIRED, 0, 1024, password_check},
        {"username", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_USERNAME_MAX, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_FULL_NAME_MAX, NULL},
    };
    enum err e = validate_body(request, FIELDS, NEW_FIELDS, ret_body, values);
    if (e) {
        return e;
    }
    const struct strength_account account = {values[NEW_EMAIL].text, values[NEW_USERNAME].text,
                                             values[NEW_FULL_NAME].text};
    return strength_check(request, "password", values[NEW_PASSWORD].text, &account);
}

/* `session` is the first one; NULL: none. */
static enum err insert(struct request *request, const struct value values[NEW_FIELDS],
                       struct session_opened *session, PGresult **ret_result)
{
    const struct services *services = request->services;
    char hash[PASSWORD_HASH_SIZE];
    struct mail_token token;
    struct pg_params by_email = {0}, params = {0};
    PG_RESULT_AUTO taken = NULL;

    /* Asked before the costly hash; the unique key decides in the end. */
    pg_text(&by_email, values[NEW_EMAIL].text);
    enum err e = pg_query(services->pg, &TAKEN, &by_email, &taken);
    if (!e && pg_get_bool(taken, 0, 0)) {
        e = ERR_CONFLICT;
    }
    e = e ? e
          : password_hash(services->hasher, values[NEW_PASSWORD].text, services->config->bcrypt_cost, hash);
    if (!e) {
        for (int i = 0; i < SESSION_PARAMS && !session; i++) {
            pg_text(&params, NULL);
        }
        e = session ? session_params(request, &params, session) : ERR_OK;
        pg_text(&params, values[NEW_EMAIL].text);
        pg_text(&params, hash);
        pg_text(&params, values[NEW_USERNAME].text);
        pg_text(&params, values[NEW_FULL_NAME].text);
        e = e ? e : mail_token_make(services->config, &token);
        mail_token_params(&token, &params);
        pg_int(&params, PROOF_VERIFY_TTL_S);
        const struct audit_change change = {
            .statement = &REGISTER, .params = &params, .action = "user.registered", .kind = "user"};
        e = e ? e : audit_carry_out(request, &change, ret_result);
    }
    return e == ERR_CONFLICT
               ? problem_say(&request->problem, e, "An account with this address exists already.")
               : e;
}

enum err account_add(struct request *request, struct response *response)
{
    struct value values[NEW_FIELDS];
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO result = NULL;
    enum err e = read_new(request, &body, values);
    e = e ? e : insert(request, values, NULL, &result);
    return e ? e : user_answer(request, response, pg_get_int(result, 0, 0));
}

enum err account_register(struct request *request, struct response *response)
{
    struct value values[NEW_FIELDS];
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO result = NULL;
    struct session_opened session = {.access_token = NULL};
    enum err e = read_new(request, &body, values);
    if (!e && !keyring_is_loaded(request->services->keyring)) {
        e = ERR_UNAVAILABLE;
    }
    e = e ? e : insert(request, values, &session, &result);
    if (e) {
        return e;
    }
    struct session_user user = {
        .user_id = pg_get_int(result, 0, 0),
        .workspace_id = pg_get_int(result, 0, 1),
        .email = values[NEW_EMAIL].text,
        .username = values[NEW_USERNAME].text,
        .full_name = values[NEW_FULL_NAME].text,
        .created_us = pg_get_int(result, 0, 2),
        .updated_us = pg_get_int(result, 0, 2),
    };
    request->principal.user_id = user.user_id; /* for the log */
    return session_answer(request, response, 201, &user, &session);
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

/* `pending_email` is the new address that is not confirmed yet; NULL: none. */
static void answer_profile(struct request *request, struct response *response, const PGresult *result,
                           const char *pending_email)
{
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "id", request->principal.user_id);
    json_add_string(answer, "email", pg_get_text(result, 0, COLUMN_EMAIL));
    json_add_string(answer, "username", pg_get_text(result, 0, COLUMN_USERNAME));
    json_add_string(answer, "full_name", pg_get_text(result, 0, COLUMN_FULL_NAME));
    json_add_time(answer, "created_at", pg_get_int(result, 0, COLUMN_CREATED));
    json_add_time(answer, "updated_at", pg_get_int(result, 0, COLUMN_UPDATED));
    if (pending_email) {
        json_add_string(answer, "pending_email", pending_email);
    }
    response_json(response, 200, answer);
}

enum err account_profile(struct request *request, struct response *response)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = load_profile(request, response, &result);
    if (!e) {
        answer_profile(request, response, result, NULL);
    }
    return e;
}

/* Whether the caller proved to know the password, where a change needs that. Who has somebody's session only
 * can guess here as at the login, and is counted and noted as there. `profile` is a row of PROFILE. */
static enum err check_current(struct request *request, const struct value *current, const PGresult *profile)
{
    const char *email = pg_get_text(profile, 0, COLUMN_EMAIL);
    const char *hash = pg_get_text(profile, 0, COLUMN_HASH);
    const struct audit_entry failed = {
        .action = "user.password_refused",
        .subject = arena_printf(request->arena, "user:%lld", (long long)request->principal.user_id)};
    if (!current->present) {
        return problem_field(&request->problem, "current_password", "required",
                             "is required to change the password or the address");
    }
    enum err e = throttle_begin(request, email);
    if (e) {
        return e;
    }
    if (current->length > PASSWORD_MAX_BYTES ||
        !password_matches(request->services->hasher, current->text, hash)) {
        e = audit_write(request->services->pg, request, &failed);
        problem_field(&request->problem, "current_password", "wrong", "is not the account's password");
        return e ? e : ERR_FORBIDDEN;
    }
    return throttle_end(request, email);
}

enum { EMAIL, PASSWORD, USERNAME, FULL_NAME, CURRENT, PROFILE_FIELDS };

enum err account_check_password(struct request *request, struct response *response,
                                const struct value *current)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = load_profile(request, response, &result);
    return e ? e : check_current(request, current, result);
}

static bool differs(const struct value *email, const PGresult *profile)
{
    return email->present && strcasecmp(email->text, pg_get_text(profile, 0, COLUMN_EMAIL)) != 0;
}

struct profile_change {
    struct request *request;
    struct audit_change change;
    const char *pending_email;
    const char *left_email; /* the address of before, when a new one counts at once */
    bool new_password;
    PGresult **ret_result;
    bool sent;
};

static enum err carry_out(struct pg *pg, void *argument)
{
    struct profile_change *profile = argument;
    int64_t user_id = profile->request->principal.user_id;
    enum err e = audit_run(pg, profile->request, &profile->change, profile->ret_result);
    if (e || PQntuples(*profile->ret_result) == 0) {
        return e;
    }
    if (profile->left_email) {
        e = mail_notice(pg, user_id, profile->left_email, "changed");
    }
    if (!e && profile->new_password) {
        e = mail_notice(pg, user_id, NULL, "password");
    }
    if (!e && profile->pending_email) {
        e = proof_send_change(profile->request, pg, profile->pending_email, &profile->sent);
    }
    return e;
}

/* Carry out a change that was checked against `before`, a row of PROFILE. */
static enum err change_profile(struct request *request, const struct value *values, const char *new_hash,
                               const PGresult *before, const char *pending_email, PGresult **ret_result)
{
    struct pg_params params = {0};
    char session[UUID_TEXT_SIZE];
    uuid_format(request->principal.grant_id, session);
    pg_int(&params, request->principal.user_id);
    pg_text(&params, session);
    pg_text(&params, pending_email ? NULL : values[EMAIL].text);
    pg_text(&params, new_hash);
    pg_text(&params, values[USERNAME].present ? "t" : "f");
    pg_text(&params, values[USERNAME].text);
    pg_text(&params, values[FULL_NAME].present ? "t" : "f");
    pg_text(&params, values[FULL_NAME].text);
    pg_text(&params, pg_get_text(before, 0, COLUMN_HASH));
    struct profile_change profile = {.request = request,
                                     .change = {.statement = &UPDATE,
                                                .params = &params,
                                                .lock_user_id = request->principal.user_id,
                                                .action = "user.profile_changed",
                                                .kind = "user",
                                                .detail_column = COLUMN_DETAIL},
                                     .pending_email = pending_email,
                                     .left_email = !pending_email && differs(&values[EMAIL], before)
                                                       ? pg_get_text(before, 0, COLUMN_EMAIL)
                                                       : NULL,
                                     .new_password = new_hash != NULL,
                                     .ret_result = ret_result};
    enum err e = pg_transaction(request->services->pg, carry_out, &profile);
    if (e == ERR_CONFLICT) {
        return problem_say(&request->problem, e, "Another account has this address.");
    }
    if (!e && PQntuples(*ret_result) == 0) {
        /* The password was changed or the account deleted while we hashed. */
        return problem_say(&request->problem, ERR_CONFLICT,
                           "The account was changed meanwhile; look and try again.");
    }
    if (!e && pending_email && !profile.sent) {
        request->problem.retry_after_s = 3600;
        return problem_say(
            &request->problem, ERR_TOO_MANY,
            "Five mails for a new address were sent within the hour. The rest of the change was made.");
    }
    return e;
}

/* The new address, when it is one, and is to be confirmed before it counts. */
static const char *pending_of(const struct request *request, const struct value *email,
                              const PGresult *before)
{
    return request->services->config->address_change_confirmed && differs(email, before) ? email->text : NULL;
}

/* A new password must be hard to guess for whom the account will be. */
static enum err check_strength(struct request *request, const struct value *values, const PGresult *before)
{
    const struct strength_account account = {
        values[EMAIL].present ? values[EMAIL].text : pg_get_text(before, 0, COLUMN_EMAIL),
        values[USERNAME].present ? values[USERNAME].text : pg_get_text(before, 0, COLUMN_USERNAME),
        values[FULL_NAME].present ? values[FULL_NAME].text : pg_get_text(before, 0, COLUMN_FULL_NAME)};
    return values[PASSWORD].present ? strength_check(request, "password", values[PASSWORD].text, &account)
                                    : ERR_OK;
}

enum err account_update(struct request *request, struct response *response)
{
    static const struct field FIELDS[PROFILE_FIELDS] = {
        {"email", FIELD_STRING, 0, 3, 254, validate_email},
        {"password", FIELD_BYTES, 0, 0, 1024, password_check},
        {"username", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_USERNAME_MAX, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_FULL_NAME_MAX, NULL},
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
        e = check_current(request, &values[CURRENT], before);
    }
    e = e ? e : check_strength(request, values, before);
    if (!e && values[PASSWORD].present) {
        e = password_hash(services->hasher, values[PASSWORD].text, services->config->bcrypt_cost, hash);
    }
    if (e) {
        return e;
    }
    const char *pending = pending_of(request, &values[EMAIL], before);
    e = change_profile(request, values, values[PASSWORD].present ? hash : NULL, before, pending, &after);
    if (!e) {
        answer_profile(request, response, after, pending);
    }
    return e;
}

/* Why an account could not be deleted: it is gone already, or owns what others use. */
static enum err explain_kept(struct request *request, struct response *response, int64_t target)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, target);
    enum err e = pg_query(request->services->pg, &EXISTS, &params, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) > 0) {
        return problem_say(
            &request->problem, ERR_CONFLICT,
            pg_get_bool(row, 0, 0)
                ? "This is the last administrator; make another one first."
                : "The account owns a workspace that others are in; hand it over or delete it first.");
    }
    return target == request->principal.user_id
               ? challenge_bearer(request, response, "the account is gone")
               : problem_say(&request->problem, ERR_NOT_FOUND, "There is no account with this id.");
}

enum err account_delete(struct request *request, struct response *response)
{
    int64_t target = request_param_int(request, "id");
    struct pg_params params = {0};
    PG_RESULT_AUTO deleted = NULL;
    bool own = target == request->principal.user_id;
    enum err e = own ? ERR_OK : user_check_admin(request, response);
    if (e) {
        return e;
    }
    pg_int(&params, target);
    const struct audit_change change = {.statement = &DELETE,
                                        .params = &params,
                                        .lock_admins = true,
                                        .lock_user_id = target,
                                        .action = "user.deleted",
                                        .kind = "user",
                                        .detail_column = DELETED_DETAIL};
    e = audit_carry_out(request, &change, &deleted);
    if (!e && PQntuples(deleted) == 0) {
        return explain_kept(request, response, target);
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
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
