/* SPDX-License-Identifier: Apache-2.0 */
#include "http/keyset.h"

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

void keyset_answer(struct response *response, const struct value values[KEYSET_COUNT], const PGresult *rows,
                   keyset_item *item)
{
    int fetched = PQntuples(rows);
    int shown = fetched > limit_of(values) ? fetched - 1 : fetched;
    JSON_AUTO answer = json_object_new_object();
    struct json_object *items = json_object_new_array();
    for (int row = 0; row < shown; row++) {
        json_object_array_add(items, item(rows, row));
    }
    json_add(answer, "items", items);
    json_add_string(answer, "next_cursor", shown < fetched ? pg_get_text(rows, shown - 1, 0) : NULL);
    response_json(response, 200, answer);
}
