/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/rows.h"

#include "base/clock.h"
#include "base/json.h"

struct json_object *rows_value(const PGresult *result, int row, int column, enum row_kind kind)
{
    char time[CLOCK_TEXT_SIZE];
    const char *text = pg_get_text(result, row, column);
    if (!text) {
        return NULL;
    }
    switch (kind) {
    case ROW_NUMBER:
        return json_number(text);
    case ROW_TIME:
        clock_format(pg_get_int(result, row, column), time);
        return json_object_new_string(time);
    default:
        return json_object_new_string(text);
    }
}

struct json_object *rows_json(const PGresult *result, const struct row_column *columns, size_t count,
                              int64_t most)
{
    struct json_object *list = json_object_new_array();
    for (int row = 0; row < PQntuples(result) && row < most; row++) {
        struct json_object *item = json_object_new_object();
        for (size_t c = 0; c < count; c++) {
            json_add(item, columns[c].name, rows_value(result, row, (int)c, columns[c].kind));
        }
        json_object_array_add(list, item);
    }
    return list;
}
