/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a result as a list of JSON objects. */
#ifndef TALLYGATE_ANALYTICS_ROWS_H
#define TALLYGATE_ANALYTICS_ROWS_H

#include <json-c/json.h>
#include <stddef.h>

#include "store/pg.h"

enum row_kind {
    ROW_TEXT,
    ROW_NUMBER, /* its decimal text stays as it is */
    ROW_TIME,   /* selected as microseconds */
};

struct row_column {
    const char *name; /* a literal */
    enum row_kind kind;
};

/* One column of one row; NULL reads as JSON null. */
struct json_object *rows_value(const PGresult *result, int row, int column, enum row_kind kind);
/* A list with an object for each of the first `most` rows: their first `count` columns by these names. */
struct json_object *rows_json(const PGresult *result, const struct row_column *columns, size_t count,
                              int64_t most);

#endif
