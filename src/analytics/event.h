/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A usage event: its limits, its own form in JSON, and what all forms have in common.
 *
 * The types api_call, tool_execution, cost and session have meanings of their own (see metric.h);
 * others match ^[a-z][a-z0-9_.:-]{0,49}$. An event may carry its own id; the same id in the same
 * workspace counts once.
 */
#ifndef TALLYGATE_ANALYTICS_EVENT_H
#define TALLYGATE_ANALYTICS_EVENT_H

#include <stdbool.h>
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
    EVENT_TEXT_MAX = 32 * 1024, /* bytes of one event as it was sent */
    EVENT_BATCH_MAX = 10000,    /* events in a request */
    EVENT_BATCH_BODY_MAX = 5 * 1024 * 1024,
};

enum event_fate {
    EVENT_PENDING,
    EVENT_RECORDED,  /* durable */
    EVENT_DUPLICATE, /* the id was there already; nothing changed */
    EVENT_REFUSED,   /* PostgreSQL takes this row in no batch */
    EVENT_HOMELESS,  /* the workspace is closed */
};

/* One event on its way into the database. */
struct event {
    const char *id;
    size_t id_length;
    bool id_given; /* by the client */
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

/* Check one JSON object and fill in an event. Its texts live in the object or in the problem's arena,
 * so event_keep() comes before either goes. */
typedef enum err event_reader(struct problem *problem, struct json_object *object, int64_t now_us,
                              struct event *ret_event);
/* The reader of our own form. */
event_reader event_from_json;
/* The same for what an export or an archive says: however long ago it was. The members workspace_id and
 * received_at may be there; *ret_workspace_id is the first one, or 0. */
enum err event_from_export(struct problem *problem, struct json_object *object, int64_t now_us,
                           struct event *ret_event, int64_t *ret_workspace_id);

/* What readers share. Each notes what is wrong under `name`. */
field_check event_check_type;
enum err event_take_value(struct problem *problem, const char *name, const char *text, size_t length,
                          struct event *event);
enum err event_take_metadata(struct problem *problem, const char *name, struct json_object *json,
                             struct event *event);
enum err event_take_time(struct problem *problem, const char *name, const struct value *value, int64_t now_us,
                         struct event *event);

/* Copy the event's texts into `arena`, and make what is ours to make: its receipt, and its id when none
 * was given. */
void event_keep(struct arena *arena, struct event *event);

/* Answer for events whose fates are known. */
typedef enum err event_answer(struct request *request, struct response *response, void *state);
/* Record kept events in the caller's workspace. A handler returns what this returns; when the events' fates
 * are filled in, `answer` is called. `events` and `state` live in the request's arena. */
enum err event_record(struct request *request, struct event *events, size_t count, event_answer *answer,
                      void *state);

#endif
