/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/workspace.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "http/challenge.h"
#include "http/keyset.h"
#include "http/router.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/right.h"
#include "identity/role.h"

enum { TOLD_MAX = 4, NAME_MAX_CHARACTERS = 100, SLUG_MAX = RIGHT_SLUG_SIZE - 1, OWNED_MAX = 100 };

#define COLUMNS \
    "w.id, w.slug, w.name, w.personal, m.role, " PG_US("w.created_at") ", array_to_json(w.told_types)"
static const struct pg_statement LIST = {
    "workspace_list",
    "SELECT " COLUMNS " FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "
    "WHERE m.user_id = $1 AND w.closed_at IS NULL ORDER BY w.personal DESC, w.id LIMIT 1000"};
static const struct pg_statement SHOW = {
    "workspace_show", "SELECT " COLUMNS " FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "
                      "WHERE m.user_id = $1 AND w.id = $2 AND w.closed_at IS NULL"};
static const struct pg_statement CREATE = {
    "workspace_create",
    "WITH space AS (INSERT INTO workspaces (name, slug) SELECT $2, $3 WHERE (SELECT count(*) FROM memberships m "
    "JOIN workspaces w ON w.id = m.workspace_id AND w.closed_at IS NULL WHERE m.user_id = $1 AND m.role = 'owner') <= 100 "
    "RETURNING id, name, slug), "
    "member AS (INSERT INTO memberships (workspace_id, user_id, role) SELECT id, $1, 'owner' FROM space) "
    "SELECT id, jsonb_build_object('name', name, 'slug', slug) FROM space"};
static const struct pg_statement CHANGE = {
    "workspace_change",
    "WITH before AS (SELECT id, name, slug, told_types FROM workspaces WHERE id = $1), "
    "changed AS (UPDATE workspaces SET name = coalesce($2, name), slug = CASE WHEN $3::boolean THEN $4 ELSE slug END, "
    "told_types = coalesce($5::text[], told_types) WHERE id = $1 AND closed_at IS NULL RETURNING id, name, slug, told_types) "
    "SELECT c.id, jsonb_build_object('before', to_jsonb(b) - 'id', 'after', to_jsonb(c) - 'id') FROM changed c JOIN before b USING (id)"};
/* The slug is free again at once; memberships end, and with them the keys. */
static const struct pg_statement DELETE = {
    "workspace_delete",
    "WITH closed AS (UPDATE workspaces SET closed_at = now(), slug = NULL WHERE id = $1 AND NOT personal AND NOT platform AND closed_at IS NULL "
    "RETURNING id, name), members AS (DELETE FROM memberships m USING closed c WHERE m.workspace_id = c.id), "
    "invited AS (DELETE FROM invitations i USING closed c WHERE i.workspace_id = c.id) "
    "SELECT id, jsonb_build_object('name', name) FROM closed"};

enum { ID, SLUG, NAME, PERSONAL, ROLE_OR_OWNER, CREATED, TOLD };

static const struct pg_statement LIST_ALL = {
    "workspace_list_all",
    "SELECT w.id, w.slug, w.name, w.personal, u.email, " PG_US(
        "w.created_at") ", array_to_json(w.told_types) FROM workspaces w "
                        "LEFT JOIN memberships m ON m.workspace_id = w.id AND m.role = 'owner' LEFT JOIN users u ON u.id = m.user_id "
                        "WHERE w.closed_at IS NULL AND w.id > $1 ORDER BY w.id LIMIT $2::bigint"};
static const struct pg_statement FIND = {
    "workspace_find",
    "SELECT w.id, m.user_id FROM workspaces w LEFT JOIN memberships m ON m.workspace_id = w.id AND m.role = 'owner' "
    "WHERE (w.slug = $1 OR w.id::text = $1) AND w.closed_at IS NULL"};

/* ---- entering ---- */

static enum err check_permission(struct request *request, struct response *response)
{
    unsigned needs = request->route->needs;
    return (request->principal.may & needs) == needs
               ? ERR_OK
               : challenge_scope(request, response,
                                 "Your role in this workspace, or the key's scopes, do not allow this.");
}

static enum err no_such_workspace(struct request *request)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "There is no such workspace, or you are not in it.");
}

static enum err enter(struct request *request, struct response *response, const char *workspace, bool fresh)
{
    struct right right;
    enum err e = right_of_member(request, request->principal.user_id, workspace, fresh, &right);
    if (e) {
        return e == ERR_NOT_FOUND ? no_such_workspace(request) : e;
    }
    request->principal.workspace_id = right.workspace_id;
    request->principal.may = right.may;
    return check_permission(request, response);
}

/* A key is of one workspace; a header that names another would be ignored to somebody's surprise. */
static bool names_own(const struct request *request, const char *workspace)
{
    const struct principal *principal = &request->principal;
    char *end;
    long long id = strtoll(workspace, &end, 10);
    return (!*end && id == principal->workspace_id) ||
           (*principal->slug && strcmp(workspace, principal->slug) == 0);
}

enum err workspace_enter(struct request *request, struct response *response)
{
    const char *header = request_variable(request, "HTTP_X_WORKSPACE");
    if (request->principal.kind == PRINCIPAL_KEY) {
        return !header || names_own(request, header)
                   ? check_permission(request, response)
                   : challenge_scope(request, response,
                                     "The key is of another workspace than X-Workspace names.");
    }
    if (header) {
        return enter(request, response, header, false);
    }
    request->principal.may = role_may("owner"); /* of the personal workspace */
    return check_permission(request, response);
}

enum err workspace_enter_path(struct request *request, struct response *response)
{
    const char *id = request_param(request, "id");
    if (request->principal.kind != PRINCIPAL_KEY) {
        return enter(request, response, id, true);
    }
    return names_own(request, id) ? check_permission(request, response) : no_such_workspace(request);
}

/* ---- what is known of one ---- */

/* `whose`: the member that tells the role of who asks, or the owner. */
static struct json_object *describe_with(const PGresult *rows, int row, const char *whose)
{
    struct json_object *item = json_object_new_object();
    json_add_int(item, "id", pg_get_int(rows, row, ID));
    json_add_string(item, "slug", pg_get_text(rows, row, SLUG));
    json_add_string(item, "name", pg_get_text(rows, row, NAME));
    json_add(item, "personal", json_object_new_boolean(pg_get_bool(rows, row, PERSONAL)));
    json_add_string(item, whose, pg_get_text(rows, row, ROLE_OR_OWNER));
    json_add(item, "told_types", keyset_json(rows, row, TOLD));
    json_add_time(item, "created_at", pg_get_int(rows, row, CREATED));
    return item;
}

static struct json_object *describe(const PGresult *rows, int row)
{
    return describe_with(rows, row, "role");
}

static struct json_object *describe_owned(const PGresult *rows, int row)
{
    return describe_with(rows, row, "owner");
}

enum err workspace_list(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, request->principal.user_id);
    enum err e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (e) {
        return e;
    }
    keyset_answer_all(response, rows, describe);
    return ERR_OK;
}

enum err workspace_list_all(struct request *request, struct response *response)
{
    return keyset_serve(request, response, &LIST_ALL, NULL, describe_owned);
}

enum err workspace_find(struct pg *pg, const char *workspace, int64_t *ret_id, int64_t *ret_owner_id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_text(&params, workspace);
    enum err e = pg_query(pg, &FIND, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return ERR_NOT_FOUND;
    }
    if (!e) {
        *ret_id = pg_get_int(row, 0, 0);
        *ret_owner_id = pg_get_int(row, 0, 1);
    }
    return e;
}

static enum err answer(struct request *request, struct response *response, int status, int64_t id)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    pg_int(&params, request->principal.user_id);
    pg_int(&params, id);
    enum err e = pg_query(request->services->pg, &SHOW, &params, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) == 0) {
        return no_such_workspace(request);
    }
    JSON_AUTO item = describe(row, 0);
    response_json(response, status, item);
    return ERR_OK;
}

enum err workspace_show(struct request *request, struct response *response)
{
    return answer(request, response, 200, request->principal.workspace_id);
}

/* ---- changing one ---- */

static const char *check_slug(const char *text, size_t length)
{
    bool fine = length >= 2 && *text >= 'a' && *text <= 'z' &&
                strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
    return fine ? NULL : "must be a letter, then letters, digits and dashes, all in lower case";
}

static enum err taken(struct request *request)
{
    return problem_say(&request->problem, ERR_CONFLICT, "Another workspace has this slug.");
}

enum err workspace_create(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"name", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, NAME_MAX_CHARACTERS, NULL},
        {"slug", FIELD_STRING, FIELD_NULLABLE, 2, SLUG_MAX, check_slug},
    };
    enum { NEW_NAME, NEW_SLUG, COUNT };
    struct value values[COUNT];
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO created = NULL;
    const struct audit_change change = {.statement = &CREATE,
                                        .params = &params,
                                        .action = "workspace.created",
                                        .kind = "workspace",
                                        .detail_column = 1};
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.user_id);
    pg_text(&params, values[NEW_NAME].text);
    pg_text(&params, values[NEW_SLUG].text);
    e = audit_carry_out(request, &change, &created);
    if (e == ERR_CONFLICT) {
        return taken(request);
    }
    if (e == ERR_INVALID) {
        return challenge_bearer(request, response, "the account is gone");
    }
    if (!e && PQntuples(created) == 0) {
        return problem_say(&request->problem, ERR_CONFLICT, "You own %d workspaces, which is the most.",
                           OWNED_MAX);
    }
    return e ? e : answer(request, response, 201, pg_get_int(created, 0, 0));
}

/* As an array of PostgreSQL's; NULL: nothing is said of it. */
static enum err read_told(struct request *request, const struct value *value, const char **ret_array)
{
    static const char *const TYPES[TOLD_MAX] = {"agent.executed", "agent.failed", "credit.consumed",
                                                "integration.connected"};
    const char *array = "";
    for (size_t i = 0; value->present && i < json_object_array_length(value->json); i++) {
        struct json_object *entry = json_object_array_get_idx(value->json, i);
        const char *text = json_object_is_type(entry, json_type_string) ? json_object_get_string(entry) : "";
        size_t k = 0;
        while (k < TOLD_MAX && strcmp(TYPES[k], text) != 0) {
            k++;
        }
        if (k == TOLD_MAX || (size_t)json_object_get_string_len(entry) != strlen(text)) {
            return problem_field(
                &request->problem, arena_printf(request->arena, "told_types[%zu]", i), "unknown",
                "must be agent.executed, agent.failed, credit.consumed or integration.connected");
        }
        array = arena_printf(request->arena, "%s%s%s", array, i ? "," : "", text);
    }
    *ret_array = value->present ? arena_printf(request->arena, "{%s}", array) : NULL;
    return ERR_OK;
}

enum err workspace_change(struct request *request, struct response *response)
{
    static const struct field FIELDS[] = {
        {"name", FIELD_STRING, FIELD_ONE_LINE, 1, NAME_MAX_CHARACTERS, NULL},
        {"slug", FIELD_STRING, FIELD_NULLABLE, 2, SLUG_MAX, check_slug},
        {"told_types", FIELD_ARRAY, 0, 0, TOLD_MAX, NULL},
    };
    enum { NEW_NAME, NEW_SLUG, NEW_TOLD, COUNT };
    struct value values[COUNT];
    const char *told = NULL;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO changed = NULL;
    const struct audit_change change = {.statement = &CHANGE,
                                        .params = &params,
                                        .action = "workspace.changed",
                                        .kind = "workspace",
                                        .detail_column = 1};
    enum err e = validate_body(request, FIELDS, COUNT, &body, values);
    if (e) {
        return e;
    }
    e = read_told(request, &values[NEW_TOLD], &told);
    if (e) {
        return e;
    }
    if (!values[NEW_NAME].present && !values[NEW_SLUG].present && !told) {
        return problem_say(&request->problem, ERR_INVALID, "Give at least one of name, slug and told_types.");
    }
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, values[NEW_NAME].text);
    pg_text(&params, values[NEW_SLUG].present ? "t" : "f");
    pg_text(&params, values[NEW_SLUG].text);
    pg_text(&params, told);
    e = audit_carry_out(request, &change, &changed);
    if (e == ERR_CONFLICT) {
        return taken(request);
    }
    if (!e && PQntuples(changed) == 0) {
        return no_such_workspace(request);
    }
    return e ? e : answer(request, response, 200, request->principal.workspace_id);
}

enum err workspace_delete(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO deleted = NULL;
    const struct audit_change change = {.statement = &DELETE,
                                        .params = &params,
                                        .action = "workspace.deleted",
                                        .kind = "workspace",
                                        .detail_column = 1};
    pg_int(&params, request->principal.workspace_id);
    enum err e = audit_carry_out(request, &change, &deleted);
    if (!e && PQntuples(deleted) == 0) {
        return problem_say(&request->problem, ERR_CONFLICT,
                           "A personal workspace goes with its account only, and the platform's own stays.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}
