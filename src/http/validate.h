/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input checked by tables. A table says for each field its type, whether it must be there and its
 * bounds; one call checks a whole JSON object or query string, notes every wrong field in the
 * problem, and gives the values in the table's order. A name that is not in the table is an error
 * too: a misspelt optional field is better told than lost.
 */
#ifndef TALLYGATE_HTTP_VALIDATE_H
#define TALLYGATE_HTTP_VALIDATE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/problem.h"
#include "http/request.h"

enum field_type {
    FIELD_STRING,  /* min, max count characters */
    FIELD_BYTES,   /* a string whose min, max count bytes */
    FIELD_INTEGER, /* min, max bound the value */
    FIELD_NUMBER,  /* finite */
    FIELD_BOOLEAN, /* true or false, of JSON */
    FIELD_TIME,    /* RFC 3339 date-time */
    FIELD_DATE,    /* YYYY-MM-DD */
    FIELD_MOMENT,  /* a date or a date-time; a date has VALIDATE_DATE_LENGTH characters */
    FIELD_OBJECT,
    FIELD_ARRAY, /* min, max count elements */
};

enum {
    FIELD_REQUIRED = 1,
    FIELD_NULLABLE = 2, /* null is a value of its own: unset */
    FIELD_ONE_LINE = 4, /* no control characters */
    FIELD_PREFIX = 8,   /* of parameters: all whose names begin with this one and are longer, each once. The
                         * value is that of the last; request->query_params has all */
};

enum { VALIDATE_DATE_LENGTH = 10 };

/* A further look at a string's text. Returns NULL when it is fine, else what is wrong. */
typedef const char *field_check(const char *text, size_t length);

struct field {
    const char *name;
    enum field_type type;
    unsigned flags;
    int64_t min;
    int64_t max;
    field_check *check; /* NULL: none */
};

struct value {
    bool present;
    bool is_null;
    const char *text; /* strings; numbers as their decimal text */
    size_t length;
    int64_t integer; /* integers; booleans as 0 or 1; times and dates as Unix microseconds */
    struct json_object *json;
};

/* `prefix` stands before the names in what is told, as in "events[3]."; "" for none. */
enum err validate_object(struct problem *problem, const char *prefix, struct json_object *object,
                         const struct field *fields, size_t count, struct value *ret_values);
/* Parse the body and check it as one object. *ret_body keeps the values alive; the caller frees it. */
enum err validate_body(struct request *request, const struct field *fields, size_t count,
                       struct json_object **ret_body, struct value *ret_values);
/* Parse the body as any JSON value; malformed text is ERR_BAD_REQUEST and said with its offset. */
enum err validate_parse(struct request *request, struct json_object **ret_body);
enum err validate_query(struct request *request, const struct field *fields, size_t count,
                        struct value *ret_values);
/* The body as a form, by the rules of RFC 6749 for its endpoints: unknown names are ignored, an empty value
 * is as none. */
enum err validate_form(struct request *request, const struct field *fields, size_t count,
                       struct value *ret_values);

/* HTML's rule for e-mail addresses (WHATWG, "valid e-mail address"), and at most 254 bytes. */
const char *validate_email(const char *text, size_t length);

#endif
