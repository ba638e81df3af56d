/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparse answers: `fields=total_cost,items.user_id` keeps only the named members of an answer. A path
 * is names with dots between them and leads through objects; lists on the way are looked through,
 * element by element. What a path ends at is kept whole.
 *
 * A handler puts the row SPARSE_FIELD into the table of its query parameters and hands the value to
 * sparse_answer(), or to answer_cached(), which calls it.
 */
#ifndef TALLYGATE_HTTP_SPARSE_H
#define TALLYGATE_HTTP_SPARSE_H

#include <json-c/json.h>
#include <stddef.h>

#include "base/err.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/response.h"

enum {
    SPARSE_TEXT_MAX = 1000, /* characters of the whole parameter */
    SPARSE_PATHS_MAX = 32,
    SPARSE_LEVELS_MAX = 4,
    SPARSE_NAME_MAX = 64,
};

/* The row of a table of query parameters. */
/* clang-format off */
#define SPARSE_FIELD {"fields", FIELD_STRING, 0, 1, SPARSE_TEXT_MAX, sparse_check}
/* clang-format on */

/* A field_check: whether `text` is a list of paths within these limits. */
const char *sparse_check(const char *text, size_t length);
/* Keep of `answer` what `fields_text` names. ERR_INVALID, with the parameter `fields` noted, when it is
 * malformed or names what the answer does not have; where nothing is there to tell, as in an empty
 * list, any name will do. The tree is spoilt then. */
enum err sparse_apply(struct problem *problem, const char *fields_text, struct json_object *answer);
/* The same with an answer that is written already. It is read from its text, so that numbers are written
 * alike whether it was built or kept. */
enum err sparse_answer(struct request *request, struct response *response, const char *fields_text);

#endif
