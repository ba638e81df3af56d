/* SPDX-License-Identifier: Apache-2.0 */
#include "work/delivery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "queries.h"

enum { ARRAY_MAX_BYTES = 4 * 1024 * 1024, GIVE_UP_MOST = 5000, ARRAYS = 10 };

static const struct pg_statement CLAIM = {"delivery_claim", sql_delivery_claim};
static const struct pg_statement TELL = {"delivery_tell", sql_delivery_tell};
static const struct pg_statement LOCK = {"delivery_lock",
                                         "SELECT pg_advisory_xact_lock(hashtext('deliveries'))"};
static const struct pg_statement IS_DUE = {
    "delivery_is_due",
    "WITH RECURSIVE ready AS ((SELECT webhook_id FROM deliveries WHERE NOT blocked ORDER BY webhook_id LIMIT 1) UNION ALL "
    "SELECT (SELECT d.webhook_id FROM deliveries d WHERE NOT d.blocked AND d.webhook_id > r.webhook_id ORDER BY d.webhook_id LIMIT 1) "
    "FROM ready r WHERE r.webhook_id IS NOT NULL) "
    "SELECT EXISTS (SELECT FROM ready r JOIN webhooks w ON w.id = r.webhook_id WHERE w.state = 'disabled' OR (w.state = 'enabled' AND "
    "EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = r.webhook_id AND NOT d.blocked AND d.next_at <= now())))"};
#define END(why)                                                                                                      \
    "INSERT INTO deliveries_done (workspace_id, webhook_id, id, event_of, event_at, event_id, type, subject, state, " \
    "attempts, history, created_at) SELECT workspace_id, webhook_id, id, event_of, event_at, event_id, type, "        \
    "subject, 'failed', attempts, history || '{\"error\": \"" why                                                     \
    "\"}'::jsonb, created_at FROM ended RETURNING 1"
/* The last ones first, so that what is left when it is enabled meanwhile begins as before. */
static const struct pg_statement GIVE_UP = {
    "delivery_give_up",
    "WITH ended AS (DELETE FROM deliveries d USING (SELECT f.* FROM webhooks w CROSS JOIN LATERAL (SELECT d.workspace_id, d.webhook_id, d.id "
    "FROM deliveries d WHERE d.workspace_id = w.workspace_id AND d.webhook_id = w.id ORDER BY d.id DESC LIMIT $1::bigint) AS f "
    "WHERE w.state = 'disabled' LIMIT $1::bigint) AS g "
    "WHERE d.workspace_id = g.workspace_id AND d.webhook_id = g.webhook_id AND d.id = g.id RETURNING d.*) " END(
        "the webhook is disabled")};
/* The first ones first; what these blocked goes on. */
static const struct pg_statement EXPIRE = {
    "delivery_expire",
    "WITH old AS MATERIALIZED (SELECT workspace_id, webhook_id, id FROM deliveries WHERE created_at < now() - $1::bigint * interval '1 day' "
    "AND next_at <= now() ORDER BY id LIMIT $2::bigint), "
    "ended AS (DELETE FROM deliveries d USING old o WHERE d.workspace_id = o.workspace_id AND d.webhook_id = o.webhook_id AND d.id = o.id "
    "RETURNING d.*), next AS (UPDATE deliveries d SET blocked = false FROM (SELECT e.workspace_id, e.webhook_id, (SELECT min(n.id) FROM deliveries n "
    "WHERE n.webhook_id = e.webhook_id AND n.subject = e.subject AND n.id > e.id) AS id FROM (SELECT workspace_id, webhook_id, subject, max(id) AS id "
    "FROM ended GROUP BY 1, 2, 3) AS e) AS n WHERE d.workspace_id = n.workspace_id AND d.webhook_id = n.webhook_id AND d.id = n.id AND d.blocked) " END(
        "it waited for too long")};

enum { WORKSPACE, ID, ATTEMPTS, WEBHOOK, EVENT, URL, SECRET, OLD_SECRET, FORMAT, BODY, TRACE, REVISION };
enum { DISABLED_WORKSPACE, DISABLED_ID, DISABLED_HOST, DISABLED_USER, DISABLED_REASON };

struct deliveries {
    const char *issuer;
    delivery_disabled_taker *disabled;
    struct pg_array workspaces, webhooks, ids, attempts, fates, delays, entries, gone, revisions, slow;
};

static void each_array(struct deliveries *deliveries, struct pg_array *ret_arrays[ARRAYS])
{
    struct pg_array *const arrays[ARRAYS] = {
        &deliveries->workspaces, &deliveries->webhooks, &deliveries->ids,     &deliveries->attempts,
        &deliveries->fates,      &deliveries->delays,   &deliveries->entries, &deliveries->gone,
        &deliveries->revisions,  &deliveries->slow};
    memcpy(ret_arrays, arrays, sizeof(arrays));
}

struct deliveries *deliveries_new(const char *issuer, delivery_disabled_taker *disabled)
{
    struct deliveries *deliveries = mem_zalloc(1, sizeof(*deliveries));
    struct pg_array *arrays[ARRAYS];
    deliveries->issuer = issuer;
    deliveries->disabled = disabled;
    each_array(deliveries, arrays);
    for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
        pg_array_init(arrays[i], ARRAY_MAX_BYTES);
    }
    return deliveries;
}

void deliveries_free(struct deliveries *deliveries)
{
    struct pg_array *arrays[ARRAYS];
    if (deliveries) {
        each_array(deliveries, arrays);
        for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
            pg_array_free(arrays[i]);
        }
        free(deliveries);
    }
}

enum err delivery_lock(struct pg *pg)
{
    return pg_query(pg, &LOCK, NULL, NULL);
}

enum err delivery_is_due(struct pg *pg, bool *ret_due)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(pg, &IS_DUE, NULL, &row);
    if (!e) {
        *ret_due = pg_get_bool(row, 0, 0);
    }
    return e;
}

static enum err give_up(struct pg *pg, void *argument)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, GIVE_UP_MOST);
    enum err e = delivery_lock(pg);
    e = e ? e : pg_query(pg, &GIVE_UP, &params, &rows);
    *(bool *)argument = !e && PQntuples(rows) == GIVE_UP_MOST;
    return e;
}

enum err delivery_give_up(struct pg *pg, bool *ret_more)
{
    bool more = false;
    enum err e = pg_transaction(pg, give_up, &more);
    if (!e) {
        *ret_more = more;
    }
    return e;
}

struct expiring {
    int64_t keep_days;
    int64_t count;
};

static enum err expire(struct pg *pg, void *argument)
{
    struct expiring *expiring = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, expiring->keep_days);
    pg_int(&params, GIVE_UP_MOST);
    enum err e = delivery_lock(pg);
    e = e ? e : pg_query(pg, &EXPIRE, &params, &rows);
    expiring->count = e ? 0 : PQntuples(rows);
    return e;
}

enum err delivery_expire(struct pg *pg, int64_t keep_days, bool *ret_more)
{
    struct expiring expiring = {.keep_days = keep_days};
    enum err e = pg_transaction(pg, expire, &expiring);
    if (!e) {
        *ret_more = expiring.count == GIVE_UP_MOST;
    }
    return e;
}

struct turning {
    struct deliveries *deliveries;
    const struct delivery_turn *turn;
    size_t begun;
};

static enum err tell(struct pg *pg, const struct turning *turning)
{
    static const char *const FATES[] = {
        [DELIVERY_DONE] = "delivered", [DELIVERY_AGAIN] = "again", [DELIVERY_FAILED] = "failed"};
    static const enum pg_type TYPES[ARRAYS] = {PG_TYPE_INT8, PG_TYPE_UUID, PG_TYPE_INT8, PG_TYPE_INT8,
                                               PG_TYPE_TEXT, PG_TYPE_INT8, PG_TYPE_TEXT, PG_TYPE_BOOL,
                                               PG_TYPE_INT8, PG_TYPE_BOOL};
    struct deliveries *deliveries = turning->deliveries;
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    struct pg_array *arrays[ARRAYS];
    each_array(deliveries, arrays);
    for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
        pg_array_start(arrays[i], TYPES[i]);
    }
    for (size_t i = 0; i < turning->turn->ends_count; i++) {
        const struct delivery_end *end = &turning->turn->ends[i];
        uint8_t webhook[16] = {0};
        (void)uuid_parse(end->webhook_id, webhook);
        pg_array_int(&deliveries->workspaces, end->workspace_id);
        pg_array_bytes(&deliveries->webhooks, webhook, sizeof(webhook));
        pg_array_int(&deliveries->ids, end->id);
        pg_array_int(&deliveries->attempts, end->attempts);
        pg_array_bytes(&deliveries->fates, FATES[end->fate], strlen(FATES[end->fate]));
        pg_array_int(&deliveries->delays, end->delay_ms);
        pg_array_bytes(&deliveries->entries, end->entry, strlen(end->entry));
        pg_array_bytes(&deliveries->gone, end->gone ? "\1" : "\0", 1);
        pg_array_int(&deliveries->revisions, end->revision);
        pg_array_bytes(&deliveries->slow, end->slow ? "\1" : "\0", 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
        if (arrays[i] == &deliveries->revisions) {
            pg_int(&params, DELIVERY_DISABLED_DAYS);
        }
        pg_array_param(&params, arrays[i]);
    }
    enum err e = pg_query(pg, &TELL, &params, &rows);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        const struct delivery_disabled disabled = {.workspace_id = pg_get_int(rows, row, DISABLED_WORKSPACE),
                                                   .webhook_id = pg_get_text(rows, row, DISABLED_ID),
                                                   .host = pg_get_text(rows, row, DISABLED_HOST),
                                                   .user_id = pg_get_int(rows, row, DISABLED_USER),
                                                   .reason = pg_get_text(rows, row, DISABLED_REASON)};
        e = disabled.reason ? deliveries->disabled(pg, &disabled) : ERR_OK;
    }
    return e;
}

static const char *copy(struct arena *arena, const PGresult *rows, int row, int column)
{
    const char *text = pg_get_text(rows, row, column);
    return text ? arena_strdup(arena, text) : NULL;
}

static enum err begin(struct pg *pg, struct turning *turning)
{
    const struct delivery_turn *turn = turning->turn;
    struct deliveries *deliveries = turning->deliveries;
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_array_start(&deliveries->ids, PG_TYPE_UUID);
    pg_array_start(&deliveries->attempts, PG_TYPE_INT8);
    for (size_t i = 0; i < turn->loads_count; i++) {
        uint8_t id[16] = {0};
        (void)uuid_parse(turn->loads[i].webhook_id, id);
        pg_array_bytes(&deliveries->ids, id, sizeof(id));
        pg_array_int(&deliveries->attempts, turn->loads[i].count);
    }
    pg_int(&params, (int64_t)turn->most);
    pg_int(&params, turn->each_most);
    pg_array_param(&params, &deliveries->ids);
    pg_array_param(&params, &deliveries->attempts);
    pg_int(&params, DELIVERY_LEASE_S);
    pg_text(&params, deliveries->issuer);
    pg_int(&params, turn->workspace_most);
    pg_int(&params, turn->slow_most);
    enum err e = pg_query(pg, &CLAIM, &params, &rows);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        struct delivery *delivery = &turn->begun[turning->begun++];
        *delivery =
            (struct delivery){.workspace_id = pg_get_int(rows, row, WORKSPACE),
                              .id = pg_get_int(rows, row, ID),
                              .attempts = pg_get_int(rows, row, ATTEMPTS),
                              .event_id = copy(turn->arena, rows, row, EVENT),
                              .url = copy(turn->arena, rows, row, URL),
                              .secret = copy(turn->arena, rows, row, SECRET),
                              .old_secret = copy(turn->arena, rows, row, OLD_SECRET),
                              .body = copy(turn->arena, rows, row, BODY),
                              .trace = copy(turn->arena, rows, row, TRACE),
                              .revision = pg_get_int(rows, row, REVISION),
                              .cloudevent = strcmp(pg_get_text(rows, row, FORMAT), "cloudevents") == 0};
        snprintf(delivery->webhook_id, sizeof(delivery->webhook_id), "%s", pg_get_text(rows, row, WEBHOOK));
    }
    return e;
}

static enum err run_turn(struct pg *pg, void *argument)
{
    struct turning *turning = argument;
    enum err e = delivery_lock(pg);
    e = e || !turning->turn->ends_count ? e : tell(pg, turning);
    return e || !turning->turn->most ? e : begin(pg, turning);
}

enum err deliveries_turn(struct deliveries *deliveries, struct pg *pg, const struct delivery_turn *turn,
                         size_t *ret_begun)
{
    struct turning turning = {.deliveries = deliveries, .turn = turn};
    *ret_begun = 0;
    if (!turn->ends_count && !turn->most) {
        return ERR_OK;
    }
    enum err e = pg_transaction(pg, run_turn, &turning);
    if (!e) {
        *ret_begun = turning.begun;
    }
    return e;
}
