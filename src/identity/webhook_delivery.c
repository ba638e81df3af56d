/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/webhook_delivery.h"

#include <string.h>

#include "base/json.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/item.h"

#define ITEM(state, next, finished)                                                                                \
    "jsonb_build_object('id', d.id, 'event_id', d.event_id, 'type', d.type, 'subject', d.subject, 'state', " state \
    ", 'attempts', d.attempts, 'next_attempt_at', " next                                                           \
    ", 'created_at', " PG_UTC("d.created_at") ", 'finished_at', " finished ", 'history', d.history)"
#define WAITING ITEM("'waiting'", PG_UTC("d.next_at"), "NULL::text")
#define DONE    ITEM("d.state", "NULL::text", PG_UTC("d.finished_at"))
#define OF_ONE  "d.workspace_id = $1::bigint AND d.webhook_id = $2::uuid"
#define EVENT \
    "LEFT JOIN domain_events e ON e.workspace_id = d.event_of AND e.at = d.event_at AND e.id = d.event_id "

static const struct pg_statement EXISTS_ = {
    "webhook_exists", "SELECT state FROM webhooks WHERE workspace_id = $1 AND id = $2::uuid"};
static const struct pg_statement LIST = {
    "webhook_delivery_list",
    "(SELECT d.id, " WAITING " FROM deliveries d WHERE " OF_ONE " AND ($3::bigint = 0 OR d.id < $3) "
    "AND coalesce($5::text, 'waiting') = 'waiting' ORDER BY d.id DESC LIMIT $4::bigint) UNION ALL "
    "(SELECT d.id, " DONE " FROM deliveries_done d WHERE " OF_ONE " AND ($3::bigint = 0 OR d.id < $3) "
    "AND ($5::text IS NULL OR d.state = $5::text) ORDER BY d.id DESC LIMIT $4::bigint) ORDER BY 1 DESC LIMIT $4::bigint"};
static const struct pg_statement SHOW = {
    "webhook_delivery_show",
    "SELECT d.id, " WAITING
    " || jsonb_build_object('event', CASE WHEN e.id IS NOT NULL THEN event_envelope(e) END) FROM deliveries d " EVENT
    "WHERE " OF_ONE " AND d.id = $3 UNION ALL "
    "SELECT d.id, " DONE
    " || jsonb_build_object('event', CASE WHEN e.id IS NOT NULL THEN event_envelope(e) END) FROM deliveries_done d " EVENT
    "WHERE " OF_ONE " AND d.id = $3 LIMIT 1"};
/* One that is sent again waits for no other, and none for it. */
static const struct pg_statement AGAIN = {
    "webhook_delivery_again",
    "INSERT INTO deliveries (workspace_id, webhook_id, event_of, event_at, event_id, type, subject) "
    "SELECT d.workspace_id, d.webhook_id, d.event_of, d.event_at, d.event_id, d.type, 'again:' || gen_random_uuid() FROM "
    "(SELECT workspace_id, webhook_id, id, event_of, event_at, event_id, type FROM deliveries UNION ALL "
    "SELECT workspace_id, webhook_id, id, event_of, event_at, event_id, type FROM deliveries_done) d "
    "JOIN webhooks w ON w.workspace_id = d.workspace_id AND w.id = d.webhook_id AND w.state <> 'disabled' "
    "JOIN domain_events e ON e.workspace_id = d.event_of AND e.at = d.event_at AND e.id = d.event_id "
    "WHERE " OF_ONE " AND d.id = $3 LIMIT 1 "
    "RETURNING webhook_id, jsonb_build_object('workspace_id', workspace_id, 'delivery_id', $3::bigint, 'event_id', event_id), id"};

static const char *check_state(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "waiting") == 0 || strcmp(text, "delivered") == 0 || strcmp(text, "failed") == 0
               ? NULL
               : "must be waiting, delivered or failed";
}

/* The parameters that statements begin with, of a webhook that is the caller's; *ret_state, unless NULL, is
 * its state. */
static enum err enter(struct request *request, struct pg_params *params, const char **ret_state)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = item_params(request, "webhook", params);
    e = e ? e : pg_query(request->services->pg, &EXISTS_, params, &row);
    if (!e && PQntuples(row) == 0) {
        return item_unknown(request, "webhook");
    }
    if (!e && ret_state) {
        *ret_state = arena_strdup(request->arena, pg_get_text(row, 0, 0));
    }
    return e;
}

enum err webhook_delivery_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {KEYSET_FIELDS, {"state", FIELD_STRING, 0, 1, 20, check_state}};
    enum { STATE = KEYSET_COUNT, COUNT };
    struct value values[COUNT];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : enter(request, &params, NULL);
    if (e) {
        return e;
    }
    keyset_params(&params, values);
    pg_text(&params, values[STATE].text);
    e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer(response, values, rows, keyset_made);
    }
    return e;
}

static enum err no_such_delivery(struct request *request)
{
    return problem_say(&request->problem, ERR_NOT_FOUND, "There is no delivery with this id.");
}

enum err webhook_delivery_show(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO row = NULL;
    enum err e = enter(request, &params, NULL);
    pg_int(&params, request_param_int(request, "delivery_id"));
    e = e ? e : pg_query(request->services->pg, &SHOW, &params, &row);
    if (!e && PQntuples(row) == 0) {
        return no_such_delivery(request);
    }
    if (!e) {
        JSON_AUTO item = keyset_json(row, 0, 1);
        response_json(response, 200, item);
    }
    return e;
}

/* Why nothing was sent again. */
static enum err explain(struct request *request, const struct pg_params *params, const char *state)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(request->services->pg, &SHOW, params, &row);
    if (e) {
        return e;
    }
    return PQntuples(row) == 0 ? no_such_delivery(request)
           : strcmp(state, "disabled") == 0
               ? problem_say(&request->problem, ERR_CONFLICT, "The webhook is disabled; enable it first.")
               : problem_say(&request->problem, ERR_CONFLICT, "The event is not kept any more.");
}

enum err webhook_delivery_again(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    const char *state = NULL;
    PG_RESULT_AUTO made = NULL;
    const struct audit_change change = {.statement = &AGAIN,
                                        .params = &params,
                                        .action = "webhook.redelivered",
                                        .kind = "webhook",
                                        .detail_column = 1};
    enum err e = enter(request, &params, &state);
    pg_int(&params, request_param_int(request, "delivery_id"));
    e = e ? e : audit_carry_out(request, &change, &made);
    if (!e && PQntuples(made) == 0) {
        return explain(request, &params, state);
    }
    if (!e) {
        JSON_AUTO item = json_object_new_object();
        json_add_int(item, "id", pg_get_int(made, 0, 2));
        response_json(response, 202, item);
    }
    return e;
}
