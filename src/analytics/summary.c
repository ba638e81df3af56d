/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/summary.h"

#include "analytics/answer.h"
#include "analytics/period.h"
#include "analytics/rows.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

enum { DEFAULT_DAYS = 30, TYPES_MAX = 1000 };

static const struct pg_statement TOTALS = {"summary_totals", sql_summary_totals};
static const struct pg_statement BY_TYPE = {"summary_by_type", sql_summary_by_type};

void summary_add_change(struct json_object *change, const char *name, const PGresult *result,
                        int first_column)
{
    struct json_object *item = json_object_new_object();
    json_add_number(item, "previous", pg_get_text(result, 0, first_column));
    json_add_number(item, "difference", pg_get_text(result, 0, first_column + 1));
    json_add_number(item, "percent", pg_get_text(result, 0, first_column + 2));
    json_add(change, name, item);
}

static enum err ask(struct request *request, const struct pg_statement *statement,
                    const struct period *period, PGresult **ret_result)
{
    struct pg_params params = {0};
    pg_int(&params, request->principal.workspace_id);
    period_params(period, &params);
    return pg_query(request->services->pg, statement, &params, ret_result);
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    static const struct row_column TYPE_COLUMNS[] = {{"type", ROW_TEXT},
                                                     {"events", ROW_NUMBER},
                                                     {"value", ROW_NUMBER},
                                                     {"minimum", ROW_NUMBER},
                                                     {"maximum", ROW_NUMBER},
                                                     {"previous_events", ROW_NUMBER},
                                                     {"previous_value", ROW_NUMBER}};
    const struct period *period = argument;
    PG_RESULT_AUTO totals = NULL;
    PG_RESULT_AUTO types = NULL;
    enum err e = ask(request, &TOTALS, period, &totals);
    e = e ? e : ask(request, &BY_TYPE, period, &types);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_int(answer, "days", period->days);
    period_json(period, answer);
    json_add_number(answer, "total_events", pg_get_text(totals, 0, 0));
    json_add_number(answer, "total_value", pg_get_text(totals, 0, 1));
    json_add_number(answer, "active_users", pg_get_text(totals, 0, 2));
    json_add(answer, "first_event_at", rows_value(totals, 0, 3, ROW_TIME));
    json_add(answer, "last_event_at", rows_value(totals, 0, 4, ROW_TIME));
    struct json_object *change = json_object_new_object();
    summary_add_change(change, "total_events", totals, 5);
    summary_add_change(change, "total_value", totals, 8);
    summary_add_change(change, "active_users", totals, 11);
    json_add(answer, "change", change);
    json_add(answer, "by_type", rows_json(types, TYPE_COLUMNS, ARRAY_SIZE(TYPE_COLUMNS), TYPES_MAX));
    *ret_answer = answer;
    return ERR_OK;
}

enum err summary_show(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {PERIOD_FIELDS, SPARSE_FIELD};
    enum { FIELDS = PERIOD_FIELDS_COUNT, COUNT };
    struct value values[COUNT];
    struct period period;

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &period);
    if (e) {
        return e;
    }
    struct answer_key key;
    answer_key_init(&key, request, "summary");
    answer_key_period(&key, &period);
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&period),
        .several = true,
        .build = build,
        .argument = &period,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}
