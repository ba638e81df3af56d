/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Usage events: what a client sends, checked, and the routes that take them.
 *
 * The types api_call, tool_execution, cost and session have meanings of their own (see metric.h);
 * others match ^[a-z][a-z0-9_.:-]{0,49}$. An event may carry its own id; the same id in the same
 * workspace counts once.
 */
#ifndef TALLYGATE_ANALYTICS_EVENT_H
#define TALLYGATE_ANALYTICS_EVENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/response.h"
#include "http/validate.h"

enum {
    EVENT_METADATA_MAX = 16 * 1024, /* bytes of compact JSON */
    EVENT_ID_MAX = 128,             /* characters */
    EVENT_VALUE_MAX = 128,          /* characters of the number as it was sent */
    EVENT_USER_MAX = 255,           /* characters */
    EVENT_PAST_DAYS = 400,
    EVENT_FUTURE_S = 300,
    EVENT_BODY_MAX = 32 * 1024, /* bytes of a request with one event */
    EVENT_BATCH_MAX = 1000,     /* events in a batch request */
    EVENT_BATCH_BODY_MAX = 5 * 1024 * 1024,
};

enum event_fate {
    EVENT_PENDING,
    EVENT_RECORDED,  /* durable */
    EVENT_DUPLICATE, /* the id was there already; nothing changed */
    EVENT_REFUSED,   /* PostgreSQL takes this row in no batch */
    EVENT_HOMELESS,  /* the workspace is closed */
};

/* One event on its way into the database. Texts live in the request's arena or its JSON tree. */
struct event {
    const char *id;
    size_t id_length;
    const char *type;
    size_t type_length;
    const char *value; /* decimal text */
    size_t value_length;
    const char *user_id;
    size_t user_id_length;
    const char *metadata; /* compact JSON or NULL */
    size_t metadata_length;
    int64_t occurred_us; /* for a duplicate, in the end, the time of the one that counts */
    uint8_t receipt[16]; /* tells this attempt's row from an earlier one's */
    enum event_fate fate;
};

/* Whether a text can be a type. */
field_check event_check_type;
/* Check one JSON object and fill in an event. `prefix` as in validate_object(). */
enum err event_from_json(struct problem *problem, const char *prefix, struct json_object *object,
                         int64_t now_us, struct event *ret_event);

/* POST /analytics/events */
enum err event_create(struct request *request, struct response *response);
/* POST /analytics/metrics/batch */
enum err event_create_batch(struct request *request, struct response *response);

#endif
