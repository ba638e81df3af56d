/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which raw events a question is about: a span of time, to the microsecond, and filters.
 *
 * A client names the span by `days=N` (today and the N-1 days before it, in UTC) or by `start` and `end`,
 * each a date or a time. The start is included; an end that is a date includes that day, one that is a
 * time is not included; without an end the span reaches to the end of today.
 *
 * A filter `metadata.KEY=VALUE` compares a top-level member of the metadata as text, so that 200 is both the
 * number and the string.
 */
#ifndef TALLYGATE_ANALYTICS_SELECTION_H
#define TALLYGATE_ANALYTICS_SELECTION_H

#include <stdint.h>

#include "analytics/event.h"
#include "http/request.h"
#include "http/validate.h"

enum {
    SELECTION_DAYS_MAX = 400,
    SELECTION_DEFAULT_DAYS = 7,
    SELECTION_MEMBERS_MAX = 5,  /* filters on the metadata */
    SELECTION_KEY_MAX = 64,     /* characters */
    SELECTION_MEMBER_MAX = 256, /* characters of the value that it is compared with */
};

/* The first rows of a table of query parameters, and where their values are. */
/* clang-format off */
#define SELECTION_FIELDS                                                       \
    {"days", FIELD_INTEGER, 0, 1, SELECTION_DAYS_MAX, NULL},                   \
    {"start", FIELD_MOMENT, 0, 0, 0, NULL},                                    \
    {"end", FIELD_MOMENT, 0, 0, 0, NULL},                                      \
    {"type", FIELD_STRING, 0, 1, 1000, event_check_type},                      \
    {"metadata.", FIELD_STRING, FIELD_PREFIX, 0, SELECTION_MEMBER_MAX, NULL}
/* clang-format on */
enum { SELECTION_DAYS, SELECTION_START, SELECTION_END, SELECTION_TYPE, SELECTION_METADATA, SELECTION_COUNT };

struct selection {
    int64_t start_us;     /* the first microsecond */
    int64_t end_us;       /* the one after the last */
    const char *type;     /* NULL: any */
    const char *metadata; /* an object of the texts that members must have, as JSON; NULL: any */
};

/* What the parameters say, after validate_query() let them through. ERR_INVALID with the fields noted. */
enum err selection_read(struct request *request, const struct value values[SELECTION_COUNT],
                        struct selection *ret_selection);

#endif
