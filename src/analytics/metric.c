/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/metric.h"

#include "analytics/answer.h"
#include "analytics/period.h"
#include "base/json.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

static const struct pg_statement OVERVIEW = {"metric_overview", sql_metric_overview};
static const struct pg_statement USAGE = {"metric_usage", sql_metric_usage};

static enum err build_overview(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct period *period = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;

    pg_int(&params, request->principal.workspace_id);
    period_params(period, &params);
    enum err e = pg_query(request->services->pg, &OVERVIEW, &params, &result);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_int(answer, "days", period->days);
    period_json(period, answer);
    json_add_int(answer, "total_metrics", pg_get_int(result, 0, 0));
    json_add_int(answer, "active_users", pg_get_int(result, 0, 1));
    json_add_int(answer, "api_calls", pg_get_int(result, 0, 2));
    json_add_int(answer, "tool_executions", pg_get_int(result, 0, 3));
    json_add_int(answer, "sessions", pg_get_int(result, 0, 4));
    json_add_number(answer, "avg_session_duration", pg_get_text(result, 0, 5));
    json_add_number(answer, "total_cost", pg_get_text(result, 0, 6));
    json_add_number(answer, "cost_per_user", pg_get_text(result, 0, 7));
    json_add_number(answer, "avg_api_calls_per_user", pg_get_text(result, 0, 8));
    json_add_number(answer, "peak_usage_hour", pg_get_text(result, 0, 9));
    *ret_answer = answer;
    return ERR_OK;
}

enum err metric_overview(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {PERIOD_FIELDS, SPARSE_FIELD};
    enum { FIELDS = PERIOD_FIELDS_COUNT, COUNT, DEFAULT_DAYS = 30 };
    struct value values[COUNT];
    struct period period;
    struct answer_key key;

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &period);
    if (e) {
        return e;
    }
    answer_key_init(&key, request, "metrics");
    answer_key_period(&key, &period);
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&period),
        .build = build_overview,
        .argument = &period,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}

struct usage {
    const char *user_id;
    struct period period;
};

static enum err build_usage(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct usage *usage = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;

    pg_int(&params, request->principal.workspace_id);
    period_params(&usage->period, &params);
    pg_text(&params, usage->user_id);
    enum err e = pg_query(request->services->pg, &USAGE, &params, &result);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_string(answer, "user_id", usage->user_id);
    json_add_int(answer, "days", usage->period.days);
    json_add_int(answer, "api_calls", pg_get_int(result, 0, 0));
    json_add_int(answer, "tool_executions", pg_get_int(result, 0, 1));
    json_add_number(answer, "total_cost", pg_get_text(result, 0, 2));
    json_add_int(answer, "sessions", pg_get_int(result, 0, 3));
    json_add_number(answer, "avg_session_duration", pg_get_text(result, 0, 4));
    period_json(&usage->period, answer);
    *ret_answer = answer;
    return ERR_OK;
}

enum err metric_usage(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {PERIOD_FIELDS, SPARSE_FIELD};
    enum { FIELDS = PERIOD_FIELDS_COUNT, COUNT, DEFAULT_DAYS = 7 };
    struct value values[COUNT];
    struct usage usage = {.user_id = request_param(request, "user_id")};
    struct answer_key key;

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &usage.period);
    if (e) {
        return e;
    }
    answer_key_init(&key, request, "usage");
    answer_key_text(&key, "user_id", usage.user_id);
    answer_key_period(&key, &usage.period);
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&usage.period),
        .countless = true, /* any user id is a question */
        .build = build_usage,
        .argument = &usage,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}
