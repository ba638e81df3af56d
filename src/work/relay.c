/* SPDX-License-Identifier: Apache-2.0 */
#include "work/relay.h"

#include "queries.h"
#include "store/pg_array.h"
#include "work/delivery.h"

static const struct pg_statement LOCK = {"relay_lock",
                                         "SELECT pg_advisory_xact_lock(hashtext('relay events'))"};
static const struct pg_statement NEXT = {
    "event_next",
    "SELECT o.seq, o.id, o.type, o.user_id, o.subject, " PG_US(
        "o.at") ", CASE WHEN o.platform THEN p.id END "
                "FROM event_outbox o LEFT JOIN workspaces p ON p.platform ORDER BY o.seq LIMIT $1::bigint"};
static const struct pg_statement RELAY = {"event_relay", sql_event_relay};
static const struct pg_statement IS_DUE = {"relay_is_due", "SELECT EXISTS (SELECT FROM event_outbox)"};

enum { SEQ, ID, TYPE, USER, SUBJECT, AT, PLATFORM };
enum { ARRAY_MAX_BYTES = 64 * 1024 };

struct relaying {
    relay_sink *sink;
    void *argument;
    int64_t count;
    struct pg_array numbers; /* of what is carried on */
};

enum err relay_is_due(struct pg *pg, bool *ret_due)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(pg, &IS_DUE, NULL, &row);
    if (!e) {
        *ret_due = pg_get_bool(row, 0, 0);
    }
    return e;
}

static enum err relay(struct pg *pg, void *argument)
{
    struct relaying *relaying = argument;
    struct pg_params params = {0};
    struct pg_params taken = {0};
    PG_RESULT_AUTO rows = NULL;
    struct relay_event events[RELAY_MAX];
    size_t count = 0;
    pg_array_start(&relaying->numbers, PG_TYPE_INT8);
    pg_int(&params, RELAY_MAX);
    enum err e = pg_query(pg, &LOCK, NULL, NULL);
    e = e ? e : pg_query(pg, &NEXT, &params, &rows);
    for (int row = 0; !e && row < PQntuples(rows) && count < RELAY_MAX; row++) {
        pg_array_int(&relaying->numbers, pg_get_int(rows, row, SEQ));
        if (!PQgetisnull(rows, row, PLATFORM)) {
            events[count++] = (struct relay_event){.workspace_id = pg_get_int(rows, row, PLATFORM),
                                                   .id = pg_get_text(rows, row, ID),
                                                   .type = pg_get_text(rows, row, TYPE),
                                                   .user_id = pg_get_text(rows, row, USER),
                                                   .subject = pg_get_text(rows, row, SUBJECT),
                                                   .at_us = pg_get_int(rows, row, AT)};
        }
    }
    relaying->count = e ? 0 : PQntuples(rows);
    if (!e && count) {
        e = relaying->sink(relaying->argument, events, count);
    }
    if (e || !relaying->count) {
        return e;
    }
    /* Just those: others may have come meanwhile. Who delivers waits for this, so it is the last. */
    pg_array_param(&taken, &relaying->numbers);
    e = delivery_lock(pg);
    return e ? e : pg_query(pg, &RELAY, &taken, NULL);
}

enum err relay_run(struct pg *pg, relay_sink *sink, void *argument, int64_t *ret_count)
{
    struct relaying relaying = {.sink = sink, .argument = argument};
    pg_array_init(&relaying.numbers, ARRAY_MAX_BYTES);
    enum err e = pg_transaction(pg, relay, &relaying);
    pg_array_free(&relaying.numbers);
    if (!e) {
        *ret_count = relaying.count;
    }
    return e;
}
