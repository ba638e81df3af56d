/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists in pages, {items, next_cursor}, of rows with a number that grows: a page goes on after the last row
 * of the one before, so rows that are added or go meanwhile neither repeat nor hide one.
 */
#ifndef TALLYGATE_HTTP_KEYSET_H
#define TALLYGATE_HTTP_KEYSET_H

#include "http/response.h"
#include "http/validate.h"
#include "store/pg.h"

enum { KEYSET_DEFAULT_LIMIT = 100, KEYSET_LIMIT_MAX = 1000 };

/* To stand first in the table of the query's fields. */
/* clang-format off */
#define KEYSET_FIELDS                                             \
    {"limit", FIELD_INTEGER, 0, 1, KEYSET_LIMIT_MAX, NULL},       \
    {"cursor", FIELD_INTEGER, 0, 1, INT64_MAX, NULL}
/* clang-format on */
enum { KEYSET_LIMIT, KEYSET_CURSOR, KEYSET_COUNT };

/* Add the number to go on after, 0 at first, and how many rows to fetch: one more than are shown. */
void keyset_params(struct pg_params *params, const struct value values[KEYSET_COUNT]);

typedef struct json_object *keyset_item(const PGresult *rows, int row);
/* A column that PostgreSQL made as JSON, and an item that is the second one. */
struct json_object *keyset_json(const PGresult *rows, int row, int column);
keyset_item keyset_made;
/* Answer with the rows that were fetched so. Column 0 is their number. */
void keyset_answer(struct response *response, const struct value values[KEYSET_COUNT], const PGresult *rows,
                   keyset_item *item);
/* Answer a list that is short by what it lists, whole: its only page. */
void keyset_answer_all(struct response *response, const PGresult *rows, keyset_item *item);
/* Serve a list that takes no other parameters. The statement's are those of keyset_params(), and then
 * `scope`, unless that is NULL. */
enum err keyset_serve(struct request *request, struct response *response,
                      const struct pg_statement *statement, const int64_t *scope, keyset_item *item);

#endif
