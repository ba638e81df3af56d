/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/query.h"

#include <string.h>

#include "analytics/answer.h"
#include "analytics/event.h"
#include "analytics/period.h"
#include "analytics/rows.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

enum {
    DEFAULT_DAYS = 30,
    DEFAULT_LIMIT = 100,
    LIMIT_MAX = 1000,
    GROUP_MAX = 73, /* characters: "metadata." and a name of 64 */
};

/* All take the same parameters, so that the choice between them is all there is to make:
 *   $1 workspace, $2 first day, $3 number of days, $4 measure, $5 group, $6 type or NULL,
 *   $7 order, $8 limit, $9 name of the member of the metadata */
static const struct pg_statement FROM_DAYS = {"query_days", sql_query_days};
static const struct pg_statement FROM_HOURS = {"query_hours", sql_query_hours};
static const struct pg_statement FROM_USERS = {"query_users", sql_query_users};
static const struct pg_statement FROM_GAPS = {"query_gaps", sql_query_gaps};
static const struct pg_statement FROM_EVENTS = {"query_events", sql_query_events};
static const struct pg_statement USERS_FROM_EVENTS = {"query_events_users", sql_query_events_users};

static const struct pg_statement WIDTH = {
    "query_width",
    "SELECT coalesce(sum(events), 0) FROM rollup_day WHERE workspace_id = $1 "
    "AND day >= $2::date AND day < $2::date + $3::int AND ($4::text IS NULL OR type = $4::text)"};

static const char *const MEASURES[] = {"count", "sum", "avg", "min", "max", "unique_users"};
static const char *const GROUPS[] = {"none", "type", "user", "hour", "day"};
static const char *const ORDERS[] = {"value", "-value", "group", "-group"};
static const char METADATA[] = "metadata.";

struct query {
    struct period period;
    const char *measure;
    const char *group;  /* one of GROUPS or "metadata" */
    const char *member; /* of the metadata; NULL for other groups */
    const char *type;
    const char *order;
    int64_t limit;
};

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *check_measure(const char *text, size_t length)
{
    (void)length;
    return is_one_of(text, MEASURES, ARRAY_SIZE(MEASURES))
               ? NULL
               : "must be count, sum, avg, min, max or unique_users";
}

static const char *check_group(const char *text, size_t length)
{
    const size_t prefix = sizeof(METADATA) - 1;
    bool ok = is_one_of(text, GROUPS, ARRAY_SIZE(GROUPS)) ||
              (strncmp(text, METADATA, prefix) == 0 && length > prefix);
    return ok ? NULL : "must be none, type, user, hour, day or metadata.NAME";
}

static const char *check_order(const char *text, size_t length)
{
    (void)length;
    return is_one_of(text, ORDERS, ARRAY_SIZE(ORDERS)) ? NULL : "must be value, -value, group or -group";
}

static bool is(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* The cheapest source that holds the answer. */
static const struct pg_statement *choose(const struct query *query)
{
    bool users = is(query->measure, "unique_users");
    bool bounds = is(query->measure, "min") || is(query->measure, "max");
    if (query->member) {
        return users ? &USERS_FROM_EVENTS : &FROM_EVENTS;
    }
    if (is(query->group, "hour")) {
        return users ? &USERS_FROM_EVENTS : &FROM_HOURS;
    }
    if (is(query->group, "user")) {
        return bounds ? &FROM_EVENTS : &FROM_USERS;
    }
    if (!users) {
        return &FROM_DAYS;
    }
    return query->type || is(query->group, "type") ? &FROM_USERS : &FROM_GAPS;
}

/* Whether so many raw events may be read. */
static enum err check_width(struct request *request, const struct query *query)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, request->principal.workspace_id);
    period_params(&query->period, &params);
    pg_text(&params, query->type);
    enum err e = pg_query(request->services->pg, &WIDTH, &params, &result);
    if (!e && pg_get_int(result, 0, 0) > QUERY_RAW_EVENTS_MAX) {
        return problem_field(&request->problem, "group_by", "too_wide",
                             "needs raw events with this measure, at most %d; this period has %lld: "
                             "choose fewer days or one type",
                             QUERY_RAW_EVENTS_MAX, (long long)pg_get_int(result, 0, 0));
    }
    return e;
}

static enum err ask(struct request *request, const struct query *query, PGresult **ret_result)
{
    static const char CANCELED[] = "57014";
    const struct pg_statement *source = choose(query);
    struct pg *pg = request->services->pg;
    struct pg_params params = {0};
    bool raw = source == &FROM_EVENTS || source == &USERS_FROM_EVENTS;
    enum err e = raw ? check_width(request, query) : ERR_OK;
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.workspace_id);
    period_params(&query->period, &params);
    pg_text(&params, query->measure);
    pg_text(&params, query->group);
    pg_text(&params, query->type);
    pg_text(&params, query->order);
    pg_int(&params, query->limit + 1); /* one more tells whether something was left out */
    pg_text(&params, query->member);
    e = pg_query(pg, source, &params, ret_result);
    if (raw && e == ERR_UNAVAILABLE && strcmp(pg_sqlstate(pg), CANCELED) == 0) {
        return problem_field(&request->problem, "days", "too_wide",
                             "takes too long to answer: choose fewer days");
    }
    return e;
}

/* The one group of a period without events. */
static struct json_object *nothing(const struct query *query)
{
    bool defined =
        is(query->measure, "count") || is(query->measure, "sum") || is(query->measure, "unique_users");
    struct json_object *item = json_object_new_object();
    json_add(item, "group", NULL);
    json_add(item, "value", defined ? json_object_new_int(0) : NULL);
    json_add_int(item, "events", 0);
    return item;
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    static const struct row_column COLUMNS[] = {
        {"group", ROW_TEXT}, {"value", ROW_NUMBER}, {"events", ROW_NUMBER}};
    const struct query *query = argument;
    PG_RESULT_AUTO result = NULL;
    enum err e = ask(request, query, &result);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_string(answer, "measure", query->measure);
    json_add_string(answer, "group_by",
                    query->member ? arena_printf(request->arena, "%s%s", METADATA, query->member)
                                  : query->group);
    json_add_string(answer, "type", query->type);
    period_json(&query->period, answer);
    struct json_object *items = rows_json(result, COLUMNS, ARRAY_SIZE(COLUMNS), query->limit);
    if (is(query->group, "none") && PQntuples(result) == 0) {
        json_object_array_add(items, nothing(query));
    }
    json_add(answer, "items", items);
    json_add(answer, "truncated", json_object_new_boolean(PQntuples(result) > query->limit));
    *ret_answer = answer;
    return ERR_OK;
}

enum err query_run(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        PERIOD_FIELDS,
        SPARSE_FIELD,
        {"measure", FIELD_STRING, 0, 1, 16, check_measure},
        {"group_by", FIELD_STRING, 0, 1, GROUP_MAX, check_group},
        {"type", FIELD_STRING, 0, 1, 1000, event_check_type},
        {"order", FIELD_STRING, 0, 1, 16, check_order},
        {"limit", FIELD_INTEGER, 0, 1, LIMIT_MAX, NULL},
    };
    enum { FIELDS = PERIOD_FIELDS_COUNT, MEASURE, GROUP, TYPE, ORDER, LIMIT, COUNT };
    struct value values[COUNT];
    struct query query = {.measure = "count", .group = "none", .limit = DEFAULT_LIMIT};

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &query.period);
    if (e) {
        return e;
    }
    query.measure = values[MEASURE].present ? values[MEASURE].text : "count";
    query.group = values[GROUP].present ? values[GROUP].text : "none";
    if (strncmp(query.group, METADATA, sizeof(METADATA) - 1) == 0) {
        query.member = query.group + sizeof(METADATA) - 1;
        query.group = "metadata";
    }
    query.type = values[TYPE].text;
    bool by_time = is(query.group, "hour") || is(query.group, "day");
    query.order = values[ORDER].present ? values[ORDER].text : by_time ? "group" : "-value";
    query.limit = values[LIMIT].present ? values[LIMIT].integer : DEFAULT_LIMIT;

    struct answer_key key;
    answer_key_init(&key, request, "query");
    answer_key_period(&key, &query.period);
    answer_key_text(&key, "measure", query.measure);
    answer_key_text(&key, "group", query.group);
    answer_key_text(&key, "member", query.member);
    answer_key_text(&key, "type", query.type);
    answer_key_text(&key, "order", query.order);
    answer_key_int(&key, "limit", query.limit);
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&query.period),
        .build = build,
        .argument = &query,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}
