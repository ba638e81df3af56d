/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/member.h"

#include <string.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/mail.h"
#include "identity/role.h"
#include "queries.h"

enum { INVITATION_TTL_S = 7 * 86400 }; /* the mail's words say the same (mail.c) */

static const struct pg_statement LIST = {
    "member_list",
    "SELECT m.user_id, u.email, u.username, u.full_name, m.role, " PG_US(
        "m.created_at") " FROM memberships m JOIN users u ON u.id = m.user_id "
                        "WHERE m.workspace_id = $3 AND m.user_id > $1 ORDER BY m.user_id LIMIT $2::bigint"};
static const struct pg_statement CHANGE = {
    "member_change",
    "WITH before AS (SELECT user_id, role FROM memberships WHERE workspace_id = $1 AND user_id = $2), "
    "changed AS (UPDATE memberships SET role = $3 WHERE workspace_id = $1 AND user_id = $2 AND role <> 'owner' RETURNING workspace_id, user_id, role) "
    "SELECT c.workspace_id, jsonb_build_object('user_id', c.user_id, 'before', b.role, 'after', c.role) "
    "FROM changed c JOIN before b USING (user_id)"};
static const struct pg_statement REMOVE = {
    "member_remove", "DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2 AND role <> 'owner' "
                     "RETURNING workspace_id, jsonb_build_object('user_id', user_id, 'role', role)"};
static const struct pg_statement ROLE = {
    "member_role", "SELECT role FROM memberships WHERE workspace_id = $1 AND user_id = $2"};
static const struct pg_statement TRANSFER = {"member_transfer", sql_member_transfer};
static const struct pg_statement ENTHRONE = {
    "member_enthrone", "UPDATE memberships SET role = 'owner' WHERE workspace_id = $1 AND user_id = $2"};
static const struct pg_statement INVITATIONS = {
    "invitation_list",
    "SELECT id, email, role, " PG_US("created_at") ", " PG_US(
        "expires_at") " FROM invitations WHERE workspace_id = $3 AND id > $1 ORDER BY id LIMIT $2::bigint"};
static const struct pg_statement INVITE = {"invitation_create", sql_invitation_create};
static const struct pg_statement WITHDRAW = {
    "invitation_delete", "DELETE FROM invitations WHERE workspace_id = $1 AND id = $2 "
                         "RETURNING id, jsonb_build_object('workspace_id', workspace_id, 'email', email)"};
static const struct pg_statement PRUNE = {
    "invitation_prune",
    "DELETE FROM invitations WHERE id IN (SELECT id FROM invitations WHERE expires_at < now() "
    "- interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};
static const struct pg_statement ACCEPT = {"invitation_accept", sql_invitation_accept};

/* ---- members ---- */

static struct json_object *describe(const PGresult *rows, int row)
{
    struct json_object *item = json_object_new_object();
    json_add_int(item, "user_id", pg_get_int(rows, row, 0));
    json_add_string(item, "email", pg_get_text(rows, row, 1));
    json_add_string(item, "username", pg_get_text(rows, row, 2));
    json_add_string(item, "full_name", pg_get_text(rows, row, 3));
    json_add_string(item, "role", pg_get_text(rows, row, 4));
    json_add_time(item, "since", pg_get_int(rows, row, 5));
    return item;
}

enum err member_list(struct request *request, struct response *response)
{
    return keyset_serve(request, response, &LIST, &request->principal.workspace_id, describe);
}

static const char *check_role(const char *text, size_t length)
{
    (void)length;
    return role_can_be_given(text) ? NULL : "must be admin, member or viewer";
}

/* Why a statement about a member changed nothing. */
static enum err explain(struct request *request, int64_t user_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, user_id);
    enum err e = pg_query(request->services->pg, &ROLE, &params, &row);
    if (e) {
        return e;
    }
    return PQntuples(row)
               ? problem_say(&request->problem, ERR_CONFLICT, "The owner must hand the workspace over first.")
               : problem_say(&request->problem, ERR_NOT_FOUND, "There is no such member.");
}

/* A change of one member; `params` has the workspace and the member first. */
static enum err carry_out(struct request *request, struct response *response,
                          const struct pg_statement *statement, const char *action,
                          const struct pg_params *params, int64_t user_id)
{
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {
        .statement = statement, .params = params, .action = action, .kind = "workspace", .detail_column = 1};
    enum err e = audit_carry_out(request, &change, &result);
    if (!e && PQntuples(result) == 0) {
        return explain(request, user_id);
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err member_change(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"role", FIELD_STRING, FIELD_REQUIRED, 1, 16, check_role}};
    int64_t user_id = request_param_int(request, "user_id");
    struct value role;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, 1, &body, &role);
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, user_id);
    pg_text(&params, role.text);
    return carry_out(request, response, &CHANGE, "workspace.member_changed", &params, user_id);
}

enum err member_remove(struct request *request, struct response *response)
{
    int64_t user_id = request_param_int(request, "user_id");
    struct pg_params params = {0};
    bool own = request->principal.kind == PRINCIPAL_USER && user_id == request->principal.user_id;
    if (!own && !(request->principal.may & MAY_MANAGE)) {
        return challenge_scope(request, response, "Only who manages the workspace may remove others.");
    }
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, user_id);
    return carry_out(request, response, &REMOVE, "workspace.member_removed", &params, user_id);
}

struct transfer {
    struct request *request;
    int64_t successor_id;
    bool done;
};

static enum err hand_over(struct pg *pg, void *argument)
{
    struct transfer *transfer = argument;
    struct request *request = transfer->request;
    struct pg_params params = {0}, successor = {0};
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {.statement = &TRANSFER,
                                        .params = &params,
                                        .lock_user_id = transfer->successor_id,
                                        .action = "workspace.transferred",
                                        .kind = "workspace",
                                        .detail_column = 1};
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, request->principal.user_id);
    pg_int(&params, transfer->successor_id);
    enum err e = audit_run(pg, request, &change, &result);
    transfer->done = !e && PQntuples(result) > 0;
    if (!transfer->done) {
        return e;
    }
    pg_int(&successor, request->principal.workspace_id);
    pg_int(&successor, transfer->successor_id);
    return pg_query(pg, &ENTHRONE, &successor, NULL);
}

enum err member_transfer(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"user_id", FIELD_INTEGER, FIELD_REQUIRED, 1, INT64_MAX, NULL}};
    struct value user;
    JSON_AUTO body = NULL;
    enum err e = validate_body(request, FIELDS, 1, &body, &user);
    if (e) {
        return e;
    }
    struct transfer transfer = {.request = request, .successor_id = user.integer};
    e = pg_transaction(request->services->pg, hand_over, &transfer);
    if (!e && !transfer.done) {
        return problem_field(&request->problem, "user_id", "unknown",
                             "must be another member of the workspace");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

/* ---- invitations ---- */

static struct json_object *describe_invitation(const PGresult *rows, int row)
{
    struct json_object *item = json_object_new_object();
    json_add_int(item, "id", pg_get_int(rows, row, 0));
    json_add_string(item, "email", pg_get_text(rows, row, 1));
    json_add_string(item, "role", pg_get_text(rows, row, 2));
    json_add_time(item, "created_at", pg_get_int(rows, row, 3));
    json_add_time(item, "expires_at", pg_get_int(rows, row, 4));
    return item;
}

enum err invitation_list(struct request *request, struct response *response)
{
    return keyset_serve(request, response, &INVITATIONS, &request->principal.workspace_id,
                        describe_invitation);
}

enum err invitation_create(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"email", FIELD_STRING, FIELD_REQUIRED, 3, 254, validate_email},
        {"role", FIELD_STRING, FIELD_REQUIRED, 1, 16, check_role},
    };
    enum { ADDRESS, GIVEN_ROLE, COUNT };
    struct value values[COUNT];
    struct mail_token token;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {.statement = &INVITE,
                                        .params = &params,
                                        .action = "invitation.created",
                                        .kind = "invitation",
                                        .detail_column = 1};
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    e = e ? e : mail_token_make(request->services->config, &token);
    if (e) {
        return e;
    }
    mail_token_params(&token, &params);
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, values[ADDRESS].text);
    pg_text(&params, values[GIVEN_ROLE].text);
    pg_int(&params, request->principal.user_id);
    pg_int(&params, INVITATION_TTL_S);
    e = audit_carry_out(request, &change, &result);
    if (!e && PQntuples(result) == 0) {
        return problem_say(
            &request->problem, ERR_CONFLICT,
            "The address is a member's, was invited within the last minute or by you five times within the hour, "
            "or the workspace is a personal one, or has a hundred invitations that wait.");
    }
    if (e) {
        return e;
    }
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "id", pg_get_int(result, 0, 0));
    json_add_string(answer, "email", pg_get_text(result, 0, 2));
    json_add_string(answer, "role", pg_get_text(result, 0, 3));
    json_add_time(answer, "created_at", pg_get_int(result, 0, 4));
    json_add_time(answer, "expires_at", pg_get_int(result, 0, 5));
    response_json(response, 201, answer);
    return ERR_OK;
}

enum err invitation_delete(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {.statement = &WITHDRAW,
                                        .params = &params,
                                        .action = "invitation.withdrawn",
                                        .kind = "invitation",
                                        .detail_column = 1};
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, request_param_int(request, "invitation_id"));
    enum err e = audit_carry_out(request, &change, &result);
    if (!e && PQntuples(result) == 0) {
        return problem_say(&request->problem, ERR_NOT_FOUND, "There is no invitation with this id.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err invitation_accept(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {{"token", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL}};
    struct value token;
    uint8_t hash[CRYPTO_SHA256_SIZE];
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {.statement = &ACCEPT,
                                        .params = &params,
                                        .lock_user_id = request->principal.user_id,
                                        .action = "workspace.member_joined",
                                        .kind = "workspace",
                                        .detail_column = 1};
    enum err e = validate_body(request, FIELDS, 1, &body, &token);
    if (e) {
        return e;
    }
    bool formed = mail_token_hash(token.text, token.length, hash);
    pg_bytes(&params, hash, sizeof(hash));
    pg_int(&params, request->principal.user_id);
    e = formed ? audit_carry_out(request, &change, &result) : ERR_OK;
    if (!e && (!formed || PQntuples(result) == 0)) {
        return problem_field(
            &request->problem, "token", "wrong",
            "is not one that was sent to the address of this account, was used or has expired, or is of a workspace "
            "that this account is in, or whose inviter may not invite any more");
    }
    if (e) {
        return e;
    }
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "workspace_id", pg_get_int(result, 0, 0));
    json_add_string(answer, "role", pg_get_text(result, 0, 2));
    response_json(response, 200, answer);
    return ERR_OK;
}

enum err invitation_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &PRUNE, NULL, &result);
    if (!e) {
        *ret_more = PQntuples(result) > 0;
    }
    return e;
}
