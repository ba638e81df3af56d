/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/daily.h"

#include "analytics/answer.h"
#include "analytics/period.h"
#include "analytics/rows.h"
#include "analytics/summary.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

static const struct pg_statement TOTALS = {"report_totals", sql_report_totals};
static const struct pg_statement BY_TYPE = {
    "report_by_type", "SELECT type, sum(events), trim_scale(sum(total)) FROM rollup_day "
                      "WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
                      "GROUP BY type ORDER BY 2 DESC, 1 LIMIT 1000"};
static const struct pg_statement BY_HOUR = {"report_by_hour", sql_report_by_hour};
static const struct pg_statement TOP_USERS = {
    "report_top_users",
    "SELECT user_id, sum(events), trim_scale(coalesce(sum(total) FILTER (WHERE type = 'cost'), 0)) "
    "FROM rollup_user_day WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
    "GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT 10"};

struct list {
    const char *name;
    const struct pg_statement *statement;
    struct row_column columns[3];
    size_t columns_count;
};

static const struct list LISTS[] = {
    {"by_type", &BY_TYPE, {{"type", ROW_TEXT}, {"events", ROW_NUMBER}, {"total", ROW_NUMBER}}, 3},
    {"by_hour", &BY_HOUR, {{"hour", ROW_NUMBER}, {"events", ROW_NUMBER}}, 2},
    {"top_users", &TOP_USERS, {{"user_id", ROW_TEXT}, {"events", ROW_NUMBER}, {"cost", ROW_NUMBER}}, 3},
};

static enum err add_list(struct request *request, const struct list *list, const struct period *period,
                         struct json_object *answer)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.workspace_id);
    period_params(period, &params);
    enum err e = pg_query(request->services->pg, list->statement, &params, &result);
    if (!e) {
        json_add(answer, list->name,
                 rows_json(result, list->columns, list->columns_count, PQntuples(result)));
    }
    return e;
}

static enum err add_totals(struct request *request, const struct period *period, struct json_object *answer)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, period->start_date);
    enum err e = pg_query(request->services->pg, &TOTALS, &params, &result);
    if (e) {
        return e;
    }
    json_add_int(answer, "total_events", pg_get_int(result, 0, 0));
    json_add_int(answer, "active_users", pg_get_int(result, 0, 1));
    json_add_number(answer, "total_cost", pg_get_text(result, 0, 2));
    struct json_object *change = json_object_new_object();
    summary_add_change(change, "total_events", result, 3);
    summary_add_change(change, "active_users", result, 6);
    summary_add_change(change, "total_cost", result, 9);
    json_add(answer, "change", change);
    return ERR_OK;
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct period *period = argument;
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "date", period->start_date);
    enum err e = add_totals(request, period, answer);
    for (size_t i = 0; !e && i < ARRAY_SIZE(LISTS); i++) {
        e = add_list(request, &LISTS[i], period, answer);
    }
    if (!e) {
        *ret_answer = json_object_get(answer);
    }
    return e;
}

enum err daily_show(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {{"date", FIELD_DATE, 0, 0, 0, NULL}, SPARSE_FIELD};
    enum { DATE, FIELDS, COUNT };
    struct value values[COUNT];
    struct period period;
    struct answer_key key;

    enum err e = validate_query(request, QUERY, COUNT, values);
    if (e) {
        return e;
    }
    if (values[DATE].present) {
        period_day(&period, values[DATE].integer);
    } else {
        period_last_days(&period, 1);
    }
    answer_key_init(&key, request, "report_daily");
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
