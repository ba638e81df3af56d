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

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json_scan.h"
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
/* Put into `out` what `fields_text` names of `answer`. ERR_INVALID, with the parameter `fields` noted, when
 * it is malformed or names what the answer does not have; where nothing is there to tell, as in an empty
 * list, any name will do. ERR_INTERNAL when the answer is no JSON. */
enum err sparse_apply(struct problem *problem, const char *fields_text, const struct json_span *answer,
                      struct buf *out);
/* The same with the answer that stands in `response`. */
enum err sparse_answer(struct request *request, struct response *response, const char *fields_text);

#endif
