/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON at the door. json-c reads more than RFC 8259 allows (NaN, `1.`, single quotes, raw control
 * characters, numbers that it clamps), so every text passes a scanner of ours first, which accepts
 * exactly the RFC's grammar; json-c then builds the tree.
 *
 * Beyond the grammar the scanner refuses what could not be kept faithfully: broken UTF-8, lone
 * surrogate escapes, nesting past JSON_DEPTH_MAX and more values than JSON_WEIGHT_MAX allows. Of a repeated
 * name the last value counts, as nearly everywhere.
 *
 * Numbers keep their text. An integer outside 64 bits, which json-c would clamp without a word, is
 * handed to it as the same number with `.0`, so that its digits stay; a number that no double can
 * hold arrives as an infinite double, for the one who needs it to refuse.
 *
 * A tree takes many times the memory of its text. A text of very many elements is therefore walked over
 * (json_walk), and each element read by itself.
 */
#ifndef TALLYGATE_BASE_JSON_H
#define TALLYGATE_BASE_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/json_scan.h"

enum {
    JSON_NUMBER_MAX = 400, /* characters, and the exponent's amount, of a number that is stored */
};

/* Scan and build. The tree is the caller's (json_object_put, or JSON_AUTO). A valid `null` gives
 * true and NULL. */
bool json_parse(const char *text, size_t length, struct json_object **ret_value,
                struct json_fault *ret_fault);

/* The same for many texts, one after the other, with one parser of json-c. All zeros is ready for use. */
struct json_reader {
    struct json_tokener *tokener;
};
bool json_read(struct json_reader *reader, const char *text, size_t length, struct json_object **ret_value,
               struct json_fault *ret_fault);
void json_reader_free(struct json_reader *reader);

/* Whether the number can be stored: a double holds it (neither infinity nor, unless it is zero, zero),
 * and its text and exponent are within JSON_NUMBER_MAX, so that it is at most some 1,200 digits as a
 * numeric, which could not hold a scale past 16383. */
bool json_number_storable(struct json_object *number);

/* Why PostgreSQL's jsonb could not keep this tree, as a code for problem_field(): nul_character for a
 * string with U+0000, out_of_range for a number that is not storable. NULL when it can. */
const char *json_unstorable(struct json_object *value);

/* The compact text of a tree; it lives as long as the tree and until the next call on it. Never
 * NULL. */
const char *json_text(struct json_object *value, size_t *ret_length);

/* Build answers: add to `object` under `name`; the name must be a string literal. */
void json_add(struct json_object *object, const char *name, struct json_object *value);
void json_add_string(struct json_object *object, const char *name, const char *text_or_null);
void json_add_int(struct json_object *object, const char *name, int64_t value);
/* A number whose decimal text is kept as it stands, as PostgreSQL's numeric prints it. NULL reads
 * as JSON null. */
void json_add_number(struct json_object *object, const char *name, const char *decimal_or_null);
struct json_object *json_number(const char *decimal);
/* Times are RFC 3339 in UTC. */
void json_add_time(struct json_object *object, const char *name, int64_t us);

void json_cleanup(struct json_object **value);
#define JSON_AUTO __attribute__((cleanup(json_cleanup))) struct json_object *

#endif
