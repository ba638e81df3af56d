/* SPDX-License-Identifier: Apache-2.0 */
#include "http/keyset.h"

#include <string.h>

#include "base/json.h"

static int64_t limit_of(const struct value values[KEYSET_COUNT])
{
    return values[KEYSET_LIMIT].present ? values[KEYSET_LIMIT].integer : KEYSET_DEFAULT_LIMIT;
}

void keyset_params(struct pg_params *params, const struct value values[KEYSET_COUNT])
{
    pg_int(params, values[KEYSET_CURSOR].present ? values[KEYSET_CURSOR].integer : 0);
    pg_int(params, limit_of(values) + 1);
}

struct json_object *keyset_json(const PGresult *rows, int row, int column)
{
    struct json_object *value = NULL;
    struct json_fault fault;
    const char *text = pg_get_text(rows, row, column);
    (void)(text && json_parse(text, strlen(text), &value, &fault));
    return value;
}

struct json_object *keyset_made(const PGresult *rows, int row)
{
    return keyset_json(rows, row, 1);
}

/* The first so many rows; with further ones, a page goes on behind them. */
static void answer(struct response *response, const PGresult *rows, int shown, keyset_item *item)
{
    JSON_AUTO page = json_object_new_object();
    struct json_object *items = json_object_new_array();
    for (int row = 0; row < shown; row++) {
        json_object_array_add(items, item(rows, row));
    }
    json_add(page, "items", items);
    json_add_string(page, "next_cursor", shown < PQntuples(rows) ? pg_get_text(rows, shown - 1, 0) : NULL);
    response_json(response, 200, page);
}

void keyset_answer(struct response *response, const struct value values[KEYSET_COUNT], const PGresult *rows,
                   keyset_item *item)
{
    int fetched = PQntuples(rows);
    answer(response, rows, fetched > limit_of(values) ? fetched - 1 : fetched, item);
}

void keyset_answer_all(struct response *response, const PGresult *rows, keyset_item *item)
{
    answer(response, rows, PQntuples(rows), item);
}

enum err keyset_serve(struct request *request, struct response *response,
                      const struct pg_statement *statement, const int64_t *scope, keyset_item *item)
{
    static const struct field QUERY[] = {KEYSET_FIELDS};
    struct value values[KEYSET_COUNT];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    enum err e = validate_query(request, QUERY, KEYSET_COUNT, values);
    if (e) {
        return e;
    }
    keyset_params(&params, values);
    if (scope) {
        pg_int(&params, *scope);
    }
    e = pg_query(request->services->pg, statement, &params, &rows);
    if (!e) {
        keyset_answer(response, values, rows, item);
    }
    return e;
}
