/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/report.h"

#include "analytics/period.h"
#include "base/json.h"
#include "http/validate.h"
#include "queries.h"

static const struct pg_statement TOTALS = {"report_totals", sql_report_totals};
static const struct pg_statement BY_TYPE = {
    "report_by_type", "SELECT type, sum(events), trim_scale(sum(total)) FROM rollup_user_day "
                      "WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
                      "GROUP BY type ORDER BY 2 DESC, 1 LIMIT 1000"};
static const struct pg_statement BY_HOUR = {"report_by_hour", sql_report_by_hour};
static const struct pg_statement TOP_USERS = {
    "report_top_users",
    "SELECT user_id, sum(events), trim_scale(coalesce(sum(total) FILTER (WHERE type = 'cost'), 0)) "
    "FROM rollup_user_day WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int "
    "GROUP BY user_id ORDER BY 2 DESC, 1 LIMIT 10"};

/* Names of the columns of a statement's rows, in order; the first may be a text. */
struct shape {
    const char *names[3];
    bool first_is_text;
};

static enum err add_list(struct request *request, const struct pg_statement *statement,
                         const struct period *period, const struct shape *shape, struct json_object *answer,
                         const char *name)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.workspace_id);
    period_params(period, &params);
    enum err e = pg_query(request->services->pg, statement, &params, &result);
    if (e) {
        return e;
    }
    struct json_object *list = json_object_new_array();
    for (int row = 0; row < PQntuples(result); row++) {
        struct json_object *item = json_object_new_object();
        for (int column = 0; column < PQnfields(result); column++) {
            const char *text = pg_get_text(result, row, column);
            bool is_text = column == 0 && shape->first_is_text;
            json_object_object_add(item, shape->names[column],
                                   is_text ? json_object_new_string(text) : json_number(text));
        }
        json_object_array_add(list, item);
    }
    json_object_object_add(answer, name, list);
    return ERR_OK;
}

/* The day's value, the one of the day before, and the change; percent is null when there was
 * nothing before. */
static void add_change(struct json_object *change, const char *name, const PGresult *result, int first_column)
{
    struct json_object *item = json_object_new_object();
    json_add_number(item, "previous", pg_get_text(result, 0, first_column));
    json_add_number(item, "difference", pg_get_text(result, 0, first_column + 1));
    json_add_number(item, "percent", pg_get_text(result, 0, first_column + 2));
    json_object_object_add(change, name, item);
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
    add_change(change, "total_events", result, 3);
    add_change(change, "active_users", result, 6);
    add_change(change, "total_cost", result, 9);
    json_add(answer, "change", change);
    return ERR_OK;
}

enum err report_daily(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {{"date", FIELD_DATE, 0, 0, 0, NULL}};
    static const struct shape TYPE_SHAPE = {{"type", "events", "total"}, true};
    static const struct shape HOUR_SHAPE = {{"hour", "events", NULL}, false};
    static const struct shape USER_SHAPE = {{"user_id", "events", "cost"}, true};
    struct value values[1];
    struct period period;

    enum err e = validate_query(request, QUERY, 1, values);
    if (e) {
        return e;
    }
    if (values[0].present) {
        period_day(&period, values[0].integer);
    } else {
        period_last_days(&period, 1);
    }
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "date", period.start_date);
    e = add_totals(request, &period, answer);
    e = e ? e : add_list(request, &BY_TYPE, &period, &TYPE_SHAPE, answer, "by_type");
    e = e ? e : add_list(request, &BY_HOUR, &period, &HOUR_SHAPE, answer, "by_hour");
    e = e ? e : add_list(request, &TOP_USERS, &period, &USER_SHAPE, answer, "top_users");
    if (!e) {
        response_json(response, 200, answer);
    }
    return e;
}
