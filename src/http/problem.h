/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with a request, gathered while it is worked on and told once: RFC 9457 problem
 * details, with one entry in `errors` for each wrong field. Whoever finds something wrong notes it
 * here and returns an `enum err`; the dispatcher writes the answer.
 */
#ifndef TALLYGATE_HTTP_PROBLEM_H
#define TALLYGATE_HTTP_PROBLEM_H

#include <json-c/json.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum { PROBLEM_FIELDS_MAX = 64 }; /* wrong fields that are told; the rest is only counted */

struct problem_field {
    struct problem_field *next;
    const char *field;   /* path, as in events[3].value */
    const char *code;    /* for programs: required, type, too_long, … */
    const char *message; /* for people */
};

struct problem {
    struct arena *arena;
    const char *detail;
    const char *oauth_code; /* see problem_oauth() */
    int64_t retry_after_s;  /* with ERR_TOO_MANY: when it may be tried again */
    struct problem_field *first;
    struct problem_field *last;
    size_t count;
};

/* Say in words what is wrong with the whole; returns `e`, so that a handler can return the call. */
enum err problem_say(struct problem *problem, enum err e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Note a wrong field; returns ERR_INVALID. `code` must be a literal. */
enum err problem_field(struct problem *problem, const char *field, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Say what is wrong at an endpoint of OAuth 2; `code` is a literal from RFC 6749 section 5.2. Returns `e`. */
enum err problem_oauth(struct problem *problem, enum err e, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The noted fields as a JSON list of {field, code, message}. */
struct json_object *problem_fields_json(const struct problem *problem);
/* The whole as problem+json; the caller owns it. */
struct json_object *problem_json(const struct problem *problem, enum err e, const char *request_id);
/* The same in the form of RFC 6749 section 5.2: {error, error_description}, with `request_id` besides.
 * *ret_status: 400 for what is not valid elsewhere answered with 422. */
struct json_object *problem_oauth_json(const struct problem *problem, enum err e, const char *request_id,
                                       int *ret_status);

#endif
