/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/audit.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/domain_event.h"
#include "queries.h"

static const struct pg_statement WRITE = {
    "audit_write",
    "INSERT INTO audit_log (actor_id, actor_grant, address, request_id, action, subject, detail) "
    "VALUES (nullif($1::bigint, 0), $2::uuid, $3::inet, $4, $5, $6, $7::jsonb)"};
static const struct pg_statement LOCK_ADMINS = {
    "audit_lock_admins",
    "SELECT FROM users WHERE role = 'admin' AND is_active ORDER BY id FOR NO KEY UPDATE"};
static const struct pg_statement LOCK = {"audit_lock_user", "SELECT FROM users WHERE id = $1 FOR UPDATE"};

enum err audit_write(struct pg *pg, const struct request *request, const struct audit_entry *entry)
{
    struct pg_params params = {0};
    char grant[UUID_TEXT_SIZE];
    bool shell = request->principal.kind == PRINCIPAL_SHELL; /* whoever is at it has not logged in to us */
    bool nobody = shell || request->principal.kind == PRINCIPAL_NOBODY;
    uuid_format(request->principal.grant_id, grant);
    pg_int(&params, shell ? 0 : request->principal.user_id);
    pg_text(&params, nobody ? NULL : grant);
    pg_text(&params, request_variable(request, "REMOTE_ADDR"));
    pg_text(&params, request->request_id);
    pg_text(&params, entry->action);
    pg_text(&params, entry->subject);
    pg_text(&params, entry->detail);
    enum err e = pg_query(pg, &WRITE, &params, NULL);
    return e ? e : domain_event_tell(pg, request, entry);
}

enum err audit_run(struct pg *pg, struct request *request, const struct audit_change *change,
                   PGresult **ret_result)
{
    struct pg_params user = {0};
    pg_int(&user, change->lock_user_id);
    enum err e = change->lock_admins ? pg_query(pg, &LOCK_ADMINS, NULL, NULL) : ERR_OK;
    e = e || !change->lock_user_id ? e : pg_query(pg, &LOCK, &user, NULL);
    e = e || !change->before ? e : change->before(pg, change->params);
    e = e ? e : pg_query(pg, change->statement, change->params, ret_result);
    if (e || PQntuples(*ret_result) == 0) {
        return e;
    }
    const struct audit_entry entry = {
        .action = change->action,
        .subject = arena_printf(request->arena, "%s:%s", change->kind, pg_get_text(*ret_result, 0, 0)),
        .detail = change->detail_column ? pg_get_text(*ret_result, 0, change->detail_column) : NULL};
    return audit_write(pg, request, &entry);
}

struct carrying {
    struct request *request;
    const struct audit_change *change;
    PGresult **ret_result;
};

static enum err carry_out(struct pg *pg, void *argument)
{
    const struct carrying *carrying = argument;
    return audit_run(pg, carrying->request, carrying->change, carrying->ret_result);
}

enum err audit_carry_out(struct request *request, const struct audit_change *change, PGresult **ret_result)
{
    struct carrying carrying = {request, change, ret_result};
    return pg_transaction(request->services->pg, carry_out, &carrying);
}

/* ---- GET /admin/audit ---- */

static const struct pg_statement LIST = {"audit_list", sql_audit_list};

enum { ID, AT, ACTOR_ID, ACTOR_GRANT, ACTION, SUBJECT, ADDRESS, REQUEST_ID, DETAIL };

static struct json_object *describe(const PGresult *rows, int row)
{
    struct json_object *item = json_object_new_object();
    const char *detail = pg_get_text(rows, row, DETAIL);
    struct json_object *parsed = NULL;
    struct json_fault fault;
    bool user = !PQgetisnull(rows, row, ACTOR_ID);
    json_add_int(item, "id", pg_get_int(rows, row, ID));
    json_add_time(item, "at", pg_get_int(rows, row, AT));
    json_add(item, "actor_id", user ? json_object_new_int64(pg_get_int(rows, row, ACTOR_ID)) : NULL);
    json_add_string(item, "actor_grant", pg_get_text(rows, row, ACTOR_GRANT));
    json_add_string(item, "action", pg_get_text(rows, row, ACTION));
    json_add_string(item, "subject", pg_get_text(rows, row, SUBJECT));
    json_add_string(item, "address", pg_get_text(rows, row, ADDRESS));
    json_add_string(item, "request_id", pg_get_text(rows, row, REQUEST_ID));
    (void)(detail && json_parse(detail, strlen(detail), &parsed, &fault));
    json_add(item, "detail", parsed);
    return item;
}

enum err audit_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        KEYSET_FIELDS,
        {"actor", FIELD_INTEGER, 0, 1, INT64_MAX, NULL},
        {"action", FIELD_STRING, 0, 1, 64, NULL},
        {"subject", FIELD_STRING, 0, 1, 128, NULL},
        {"start", FIELD_MOMENT, 0, 0, 0, NULL},
        {"end", FIELD_MOMENT, 0, 0, 0, NULL},
    };
    enum { ACTOR = KEYSET_COUNT, ACTION_IS, SUBJECT_IS, START, END, COUNT };
    struct value values[COUNT];
    char start[CLOCK_TEXT_SIZE], end[CLOCK_TEXT_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    enum err e = validate_query(request, QUERY, COUNT, values);
    if (e) {
        return e;
    }
    clock_format(values[START].integer, start);
    clock_format(values[END].integer, end);
    keyset_params(&params, values);
    pg_text(&params, values[ACTOR].present
                         ? arena_printf(request->arena, "%lld", (long long)values[ACTOR].integer)
                         : NULL);
    pg_text(&params, values[ACTION_IS].text);
    pg_text(&params, values[SUBJECT_IS].text);
    pg_text(&params, values[START].present ? start : NULL);
    pg_text(&params, values[END].present ? end : NULL);
    e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer(response, values, rows, describe);
    }
    return e;
}
