/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/cost.h"

#include <string.h>

#include "analytics/answer.h"
#include "analytics/period.h"
#include "analytics/rows.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "http/sparse.h"
#include "http/validate.h"
#include "queries.h"

static const struct pg_statement TOTAL = {
    "cost_total",
    "SELECT trim_scale(coalesce(sum(total), 0)), coalesce(sum(events), 0) FROM rollup_day "
    "WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int AND type = 'cost'"};
static const struct pg_statement BY_DAY = {"cost_by_day", sql_cost_by_day};
static const struct pg_statement BY_USER = {"cost_by_user", sql_cost_by_user};

/* A sum of the largest and the smallest decimal has some 650 digits, a user id up to 1020 bytes. */
enum { CURSOR_MAX = 3000, CURSOR_COST_MAX = 1000 };

/* A page ends at a cost and a key; the cursor is both, as base64url of COST:KEY. */
static const char *make_cursor(struct arena *arena, const char *cost, const char *key)
{
    const char *plain = arena_printf(arena, "%s:%s", cost, key);
    size_t length = strlen(plain);
    char *cursor = arena_alloc(arena, length * 4 / 3 + 4);
    crypto_base64url((const uint8_t *)plain, length, cursor);
    return cursor;
}

static const char *check_cursor(const char *text, size_t length)
{
    uint8_t plain[CURSOR_MAX];
    size_t plain_length = 0;
    bool ok = length <= CURSOR_MAX && crypto_base64url_decode(text, length, plain, &plain_length) &&
              utf8_valid((const char *)plain, plain_length) && !memchr(plain, '\0', plain_length);
    const uint8_t *colon = ok ? memchr(plain, ':', plain_length) : NULL;
    /* The part before it goes to PostgreSQL as a number. */
    ok = colon && colon != plain && colon - plain <= CURSOR_COST_MAX;
    int dots = 0;
    for (const uint8_t *c = plain; ok && c < colon; c++) {
        bool dot = *c == '.' && c > plain && c + 1 < colon && dots++ == 0;
        ok = (*c >= '0' && *c <= '9') || dot || (*c == '-' && c == plain && c + 1 < colon);
    }
    return ok ? NULL : "is not a cursor that this list gave out";
}

static void read_cursor(struct arena *arena, const char *cursor, const char **ret_cost, const char **ret_key)
{
    size_t length = strlen(cursor);
    char *plain = arena_alloc(arena, length + 1);
    if (crypto_base64url_decode(cursor, length, (uint8_t *)plain, &length)) {
        plain[length] = '\0';
        char *colon = strchr(plain, ':');
        *colon = '\0';
        *ret_cost = plain;
        *ret_key = colon + 1;
    }
}

static const char *check_group(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "day") == 0 || strcmp(text, "user") == 0 ? NULL : "must be day or user";
}

struct costs {
    struct period period;
    bool by_user;
    int64_t limit;
    const char *after_cost; /* of the cursor; NULL: from the first on */
    const char *after_key;
};

static void add_items(struct request *request, const struct costs *costs, struct json_object *answer,
                      const PGresult *result)
{
    const struct row_column columns[] = {
        {costs->by_user ? "user_id" : "day", ROW_TEXT}, {"cost", ROW_NUMBER}, {"events", ROW_NUMBER}};
    int rows = PQntuples(result);
    int shown = rows > costs->limit ? (int)costs->limit : rows;
    json_add(answer, "items", rows_json(result, columns, ARRAY_SIZE(columns), shown));
    const char *next = rows > shown ? make_cursor(request->arena, pg_get_text(result, shown - 1, 1),
                                                  pg_get_text(result, shown - 1, 0))
                                    : NULL;
    json_add_string(answer, "next_cursor", next);
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    const struct costs *costs = argument;
    struct pg_params total_params = {0}, params = {0};
    PG_RESULT_AUTO total = NULL;
    PG_RESULT_AUTO rows = NULL;

    pg_int(&total_params, request->principal.workspace_id);
    period_params(&costs->period, &total_params);
    enum err e = pg_query(request->services->pg, &TOTAL, &total_params, &total);
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.workspace_id);
    period_params(&costs->period, &params);
    pg_text(&params, costs->after_cost);
    pg_text(&params, costs->after_key);
    pg_int(&params, costs->limit + 1); /* one more tells whether there is a next page */
    e = pg_query(request->services->pg, costs->by_user ? &BY_USER : &BY_DAY, &params, &rows);
    if (e) {
        return e;
    }
    struct json_object *answer = json_object_new_object();
    json_add_int(answer, "days", costs->period.days);
    period_json(&costs->period, answer);
    json_add_string(answer, "group_by", costs->by_user ? "user" : "day");
    json_add_number(answer, "total_cost", pg_get_text(total, 0, 0));
    json_add_int(answer, "events", pg_get_int(total, 0, 1));
    add_items(request, costs, answer, rows);
    *ret_answer = answer;
    return ERR_OK;
}

enum err cost_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        PERIOD_FIELDS,
        SPARSE_FIELD,
        {"group_by", FIELD_STRING, 0, 1, 16, check_group},
        {"limit", FIELD_INTEGER, 0, 1, 1000, NULL},
        {"cursor", FIELD_STRING, 0, 1, CURSOR_MAX, check_cursor},
    };
    enum {
        FIELDS = PERIOD_FIELDS_COUNT,
        GROUP,
        LIMIT,
        CURSOR,
        COUNT,
        DEFAULT_DAYS = 30,
        DEFAULT_LIMIT = 100
    };
    struct value values[COUNT];
    struct costs costs = {0};
    struct answer_key key;

    enum err e = validate_query(request, QUERY, COUNT, values);
    e = e ? e : period_read(&request->problem, values, DEFAULT_DAYS, &costs.period);
    if (e) {
        return e;
    }
    costs.by_user = values[GROUP].present && strcmp(values[GROUP].text, "user") == 0;
    costs.limit = values[LIMIT].present ? values[LIMIT].integer : DEFAULT_LIMIT;
    if (values[CURSOR].present) {
        int64_t ignored;
        read_cursor(request->arena, values[CURSOR].text, &costs.after_cost, &costs.after_key);
        if (!costs.by_user && !clock_parse_date(costs.after_key, strlen(costs.after_key), &ignored)) {
            return problem_field(&request->problem, "cursor", "format", "is a cursor of another grouping");
        }
    }
    answer_key_init(&key, request, "costs");
    answer_key_period(&key, &costs.period);
    answer_key_int(&key, "by_user", costs.by_user);
    answer_key_int(&key, "limit", costs.limit);
    answer_key_text(&key, "after_cost", costs.after_cost);
    answer_key_text(&key, "after_key", costs.after_key);
    struct answer_question question = {
        .key = &key,
        .finished = period_is_over(&costs.period),
        .several = true,
        .countless = values[CURSOR].present,
        .build = build,
        .argument = &costs,
        .fields = values[FIELDS].text,
    };
    return answer_cached(request, response, &question);
}
