/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/cost.h"

#include <string.h>

#include "analytics/period.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/utf8.h"
#include "http/validate.h"
#include "queries.h"

static const struct pg_statement TOTAL = {
    "cost_total",
    "SELECT trim_scale(coalesce(sum(total), 0)), coalesce(sum(events), 0) FROM rollup_user_day "
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

static void add_items(struct request *request, struct json_object *answer, const PGresult *result,
                      int64_t limit, const char *key_name)
{
    struct json_object *items = json_object_new_array();
    int rows = PQntuples(result);
    int shown = rows > limit ? (int)limit : rows;
    for (int i = 0; i < shown; i++) {
        struct json_object *item = json_object_new_object();
        json_object_object_add(item, key_name, json_object_new_string(pg_get_text(result, i, 0)));
        json_add_number(item, "cost", pg_get_text(result, i, 1));
        json_add_int(item, "events", pg_get_int(result, i, 2));
        json_object_array_add(items, item);
    }
    json_add(answer, "items", items);
    const char *next = rows > shown ? make_cursor(request->arena, pg_get_text(result, shown - 1, 1),
                                                  pg_get_text(result, shown - 1, 0))
                                    : NULL;
    json_add_string(answer, "next_cursor", next);
}

enum err cost_list(struct request *request, struct response *response)
{
    static const struct field QUERY[] = {
        {"days", FIELD_INTEGER, 0, 1, PERIOD_DAYS_MAX, NULL},
        {"group_by", FIELD_STRING, 0, 1, 16, check_group},
        {"limit", FIELD_INTEGER, 0, 1, 1000, NULL},
        {"cursor", FIELD_STRING, 0, 1, CURSOR_MAX, check_cursor},
    };
    enum { DAYS, GROUP, LIMIT, CURSOR, COUNT, DEFAULT_DAYS = 30, DEFAULT_LIMIT = 100 };
    struct value values[COUNT];
    struct period period;
    struct pg_params total_params = {0}, params = {0};
    PG_RESULT_AUTO total = NULL;
    PG_RESULT_AUTO rows = NULL;
    const char *after_cost = NULL, *after_key = NULL;

    enum err e = validate_query(request, QUERY, COUNT, values);
    if (e) {
        return e;
    }
    bool by_user = values[GROUP].present && strcmp(values[GROUP].text, "user") == 0;
    int64_t limit = values[LIMIT].present ? values[LIMIT].integer : DEFAULT_LIMIT;
    period_last_days(&period, values[DAYS].present ? values[DAYS].integer : DEFAULT_DAYS);
    if (values[CURSOR].present) {
        int64_t ignored;
        read_cursor(request->arena, values[CURSOR].text, &after_cost, &after_key);
        if (!by_user && !clock_parse_date(after_key, strlen(after_key), &ignored)) {
            return problem_field(&request->problem, "cursor", "format", "is a cursor of another grouping");
        }
    }
    pg_int(&total_params, request->principal.workspace_id);
    period_params(&period, &total_params);
    e = pg_query(request->services->pg, &TOTAL, &total_params, &total);
    if (e) {
        return e;
    }
    pg_int(&params, request->principal.workspace_id);
    period_params(&period, &params);
    pg_text(&params, after_cost);
    pg_text(&params, after_key);
    pg_int(&params, limit + 1); /* one more tells whether there is a next page */
    e = pg_query(request->services->pg, by_user ? &BY_USER : &BY_DAY, &params, &rows);
    if (e) {
        return e;
    }
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "days", period.days);
    period_json(&period, answer);
    json_add_string(answer, "group_by", by_user ? "user" : "day");
    json_add_number(answer, "total_cost", pg_get_text(total, 0, 0));
    json_add_int(answer, "events", pg_get_int(total, 0, 1));
    add_items(request, answer, rows, limit, by_user ? "user_id" : "day");
    response_json(response, 200, answer);
    return ERR_OK;
}
