/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/item.h"

#include "base/json.h"
#include "http/keyset.h"

static const struct pg_statement ONE_BY_ONE = {
    "item_one_by_one", "SELECT pg_advisory_xact_lock(hashtext('items'), hashtext($1::text))"};

enum err item_unknown(struct request *request, const char *kind)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "There is no %s with this id.", kind);
}

enum err item_params(struct request *request, const char *kind, struct pg_params *params)
{
    uint8_t id[16];
    const char *text = request_param(request, "id");
    pg_int(params, request->principal.workspace_id);
    pg_text(params, text);
    return uuid_parse(text, id) ? ERR_OK : item_unknown(request, kind);
}

enum err item_list(struct request *request, struct response *response, const struct pg_statement *statement)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, request->principal.workspace_id);
    enum err e = pg_query(request->services->pg, statement, &params, &rows);
    if (!e) {
        keyset_answer_all(response, rows, keyset_made);
    }
    return e;
}

enum err item_show(struct request *request, struct response *response, const char *kind,
                   const struct pg_statement *statement)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = item_params(request, kind, &params);
    e = e ? e : pg_query(request->services->pg, statement, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return item_unknown(request, kind);
    }
    if (!e) {
        JSON_AUTO item = keyset_json(row, 0, 1);
        response_json(response, 200, item);
    }
    return e;
}

enum err item_change(struct request *request, struct response *response, const struct audit_change *change,
                     int status)
{
    PG_RESULT_AUTO changed = NULL;
    enum err e = audit_carry_out(request, change, &changed);
    if (!e && PQntuples(changed) == 0) {
        return item_unknown(request, change->kind);
    }
    if (!e && status == 204) {
        response_empty(response, status);
    } else if (!e) {
        JSON_AUTO item = keyset_json(changed, 0, 2);
        response_json(response, status, item);
    }
    return e;
}

enum err item_one_by_one(struct pg *pg, const struct pg_params *params)
{
    struct pg_params workspace = {0};
    pg_text(&workspace, params->values[0]);
    return pg_query(pg, &ONE_BY_ONE, &workspace, NULL);
}
