/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/user.h"

#include <string.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/account.h"
#include "identity/audit.h"
#include "queries.h"

static const struct pg_statement ROLE = {"user_role", "SELECT role FROM users WHERE id = $1 AND is_active"};
static const struct pg_statement FIND = {
    "user_find",
    "SELECT id FROM users WHERE email = $1::text::citext OR ($1 ~ '^[1-9][0-9]{0,17}$' AND id::text = $1)"};
static const struct pg_statement LIST = {"user_list", sql_user_list};
static const struct pg_statement SHOW = {"user_show", sql_user_show};
static const struct pg_statement CHANGE = {"user_change", sql_user_change};

enum { ID, EMAIL, USERNAME, FULL_NAME, USER_ROLE, IS_ACTIVE, EMAIL_VERIFIED, MFA, CREATED, UPDATED };
enum { CHANGE_DETAIL = 1 };

enum err user_check_admin(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    if (request->principal.kind == PRINCIPAL_SHELL) {
        return ERR_OK;
    }
    pg_int(&params, request->principal.user_id);
    enum err e = pg_query(request->services->pg, &ROLE, &params, &result);
    if (e) {
        return e;
    }
    if (PQntuples(result) == 0) {
        return challenge_bearer(request, response, "the account is gone");
    }
    return strcmp(pg_get_text(result, 0, 0), "admin") == 0
               ? ERR_OK
               : challenge_scope(request, response, "Only administrators may do this.");
}

static struct json_object *describe(const PGresult *rows, int row)
{
    struct json_object *user = json_object_new_object();
    json_add_int(user, "id", pg_get_int(rows, row, ID));
    json_add_string(user, "email", pg_get_text(rows, row, EMAIL));
    json_add_string(user, "username", pg_get_text(rows, row, USERNAME));
    json_add_string(user, "full_name", pg_get_text(rows, row, FULL_NAME));
    json_add_string(user, "role", pg_get_text(rows, row, USER_ROLE));
    json_add(user, "is_active", json_object_new_boolean(pg_get_bool(rows, row, IS_ACTIVE)));
    json_add(user, "email_verified", json_object_new_boolean(pg_get_bool(rows, row, EMAIL_VERIFIED)));
    json_add(user, "mfa_enabled", json_object_new_boolean(pg_get_bool(rows, row, MFA)));
    json_add_time(user, "created_at", pg_get_int(rows, row, CREATED));
    json_add_time(user, "updated_at", pg_get_int(rows, row, UPDATED));
    return user;
}

static enum err no_such_user(struct request *request)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "There is no account with this id.");
}

enum err user_answer(struct request *request, struct response *response, int64_t user_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, user_id);
    enum err e = pg_query(request->services->pg, &SHOW, &params, &result);
    if (e) {
        return e;
    }
    if (PQntuples(result) == 0) {
        return no_such_user(request);
    }
    JSON_AUTO user = describe(result, 0);
    response_json(response, 200, user);
    return ERR_OK;
}

static const char *check_role(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "user") == 0 || strcmp(text, "admin") == 0 ? NULL : "must be user or admin";
}

static const char *check_boolean(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0 ? NULL : "must be true or false";
}

enum err user_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        KEYSET_FIELDS,
        {"search", FIELD_STRING, 0, 1, 254, NULL},
        {"role", FIELD_STRING, 0, 1, 16, check_role},
        {"is_active", FIELD_STRING, 0, 1, 5, check_boolean},
    };
    enum { SEARCH = KEYSET_COUNT, ROLE_IS, ACTIVE_IS, COUNT };
    struct value values[COUNT];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    enum err e = validate_query(request, QUERY, COUNT, values);
    if (e) {
        return e;
    }
    keyset_params(&params, values);
    pg_text(&params, values[SEARCH].text);
    pg_text(&params, values[ROLE_IS].text);
    pg_text(&params, values[ACTIVE_IS].text);
    e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer(response, values, rows, describe);
    }
    return e;
}

enum err user_show(struct request *request, struct response *response)
{
    int64_t id = request_param_int(request, "id");
    bool free = request->principal.kind == PRINCIPAL_SERVICE || id == request->principal.user_id;
    enum err e = free ? ERR_OK : user_check_admin(request, response);
    return e ? e : user_answer(request, response, id);
}

enum err user_show_me(struct request *request, struct response *response)
{
    enum err e = user_answer(request, response, request->principal.user_id);
    return e == ERR_NOT_FOUND ? challenge_bearer(request, response, "the account is gone") : e;
}

enum err user_change_me(struct request *request, struct response *response)
{
    enum err e = account_update(request, response);
    return e ? e : user_answer(request, response, request->principal.user_id);
}

/* Why a change was not made: there is no such account, or nobody could administer then. */
static enum err explain_unchanged(struct request *request, int64_t id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, id);
    enum err e = pg_query(request->services->pg, &SHOW, &params, &row);
    if (e) {
        return e;
    }
    return PQntuples(row) == 0 ? no_such_user(request)
                               : problem_say(&request->problem, ERR_CONFLICT,
                                             "This is the last administrator; make another one first.");
}

enum err user_change(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"role", FIELD_STRING, 0, 1, 16, check_role},
        {"is_active", FIELD_BOOLEAN, 0, 0, 0, NULL},
        {"username", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_USERNAME_MAX, NULL},
        {"full_name", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 1, ACCOUNT_FULL_NAME_MAX, NULL},
    };
    enum { NEW_ROLE, ACTIVE, NAME, FULL, COUNT };
    int64_t id = request_param_int(request, "id");
    struct value values[COUNT];
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO result = NULL;
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    if (!values[NEW_ROLE].present && !values[ACTIVE].present && !values[NAME].present &&
        !values[FULL].present) {
        return problem_say(&request->problem, ERR_INVALID,
                           "Give at least one of role, is_active, username and full_name.");
    }
    if (id == request->principal.user_id && (values[NEW_ROLE].present || values[ACTIVE].present)) {
        /* Nobody locks themselves out by a slip. */
        return problem_say(&request->problem, ERR_CONFLICT,
                           "Nobody can change their own role or switch themselves off.");
    }
    pg_int(&params, id);
    pg_text(&params, values[NEW_ROLE].text);
    pg_text(&params, values[ACTIVE].present ? values[ACTIVE].integer ? "t" : "f" : NULL);
    pg_text(&params, values[NAME].present ? "t" : "f");
    pg_text(&params, values[NAME].text);
    pg_text(&params, values[FULL].present ? "t" : "f");
    pg_text(&params, values[FULL].text);
    const struct audit_change change = {.statement = &CHANGE,
                                        .params = &params,
                                        .lock_admins = values[NEW_ROLE].present || values[ACTIVE].present,
                                        .lock_user_id = id,
                                        .action = "user.changed",
                                        .kind = "user",
                                        .detail_column = CHANGE_DETAIL};
    e = audit_carry_out(request, &change, &result);
    if (!e && PQntuples(result) == 0) {
        return explain_unchanged(request, id);
    }
    return e ? e : user_answer(request, response, id);
}

enum err user_find(struct pg *pg, const char *who, int64_t *ret_user_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_text(&params, who);
    enum err e = pg_query(pg, &FIND, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return ERR_NOT_FOUND;
    }
    *ret_user_id = e ? 0 : pg_get_int(row, 0, 0);
    return e;
}
