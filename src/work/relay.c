/* SPDX-License-Identifier: Apache-2.0 */
#include "work/relay.h"

#include "queries.h"
#include "work/delivery.h"

static const struct pg_statement LOCK = {"relay_lock",
                                         "SELECT pg_advisory_xact_lock(hashtext('relay events'))"};
static const struct pg_statement RELAY = {"event_relay", sql_event_relay};
static const struct pg_statement IS_DUE = {"relay_is_due", "SELECT EXISTS (SELECT FROM event_outbox)"};

enum { ID, TYPE, USER, SUBJECT, AT, TAKEN, PLATFORM };

struct relaying {
    relay_sink *sink;
    void *argument;
    int64_t count;
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
    PG_RESULT_AUTO rows = NULL;
    struct relay_event events[RELAY_MAX];
    size_t count = 0;
    pg_int(&params, RELAY_MAX);
    enum err e = pg_query(pg, &LOCK, NULL, NULL);
    e = e ? e : delivery_lock(pg);
    e = e ? e : pg_query(pg, &RELAY, &params, &rows);
    for (int row = 0; !e && row < PQntuples(rows) && count < RELAY_MAX; row++) {
        if (!PQgetisnull(rows, row, PLATFORM)) {
            events[count++] = (struct relay_event){.workspace_id = pg_get_int(rows, row, PLATFORM),
                                                   .id = pg_get_text(rows, row, ID),
                                                   .type = pg_get_text(rows, row, TYPE),
                                                   .user_id = pg_get_text(rows, row, USER),
                                                   .subject = pg_get_text(rows, row, SUBJECT),
                                                   .at_us = pg_get_int(rows, row, AT)};
        }
    }
    relaying->count = !e && PQntuples(rows) ? pg_get_int(rows, 0, TAKEN) : 0;
    return e || !count ? e : relaying->sink(relaying->argument, events, count);
}

enum err relay_run(struct pg *pg, relay_sink *sink, void *argument, int64_t *ret_count)
{
    struct relaying relaying = {.sink = sink, .argument = argument};
    enum err e = pg_transaction(pg, relay, &relaying);
    if (!e) {
        *ret_count = relaying.count;
    }
    return e;
}
