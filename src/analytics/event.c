/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/event.h"

#include <string.h>

#include "analytics/ingest.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/challenge.h"

const char *event_check_type(const char *text, size_t length)
{
    enum { TYPE_MAX = 50 };
    bool ok = length <= TYPE_MAX && *text >= 'a' && *text <= 'z' &&
              strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_.:-") == length;
    return ok ? NULL
              : "must have at most 50 lower-case letters, digits and the signs _ . : - and begin with a letter";
}

/* As it was sent: json_parse() put `.0` behind an integer past 64 bits. */
static size_t sent_length(const char *text, size_t length)
{
    return length > 2 && memcmp(text + length - 2, ".0", 2) == 0 ? length - 2 : length;
}

enum err event_take_value(struct problem *problem, const char *name, const char *text, size_t length,
                          struct event *event)
{
    event->value = text;
    event->value_length = length;
    if (sent_length(text, length) > EVENT_VALUE_MAX) {
        return problem_field(problem, name, "too_long", "must have at most %d characters", EVENT_VALUE_MAX);
    }
    return ERR_OK;
}

enum err event_take_metadata(struct problem *problem, const char *name, struct json_object *json,
                             struct event *event)
{
    if (!json) {
        return ERR_OK;
    }
    event->metadata = json_text(json, &event->metadata_length);
    if (event->metadata_length > EVENT_METADATA_MAX) {
        return problem_field(problem, name, "too_long", "must have at most %d bytes as compact JSON",
                             EVENT_METADATA_MAX);
    }
    const char *code = json_unstorable(json);
    if (code) {
        return problem_field(problem, name, code,
                             "must have no U+0000 in a string and no number that cannot be stored");
    }
    return ERR_OK;
}

static enum err take_any_time(struct problem *problem, const char *name, const struct value *value,
                              int64_t now_us, struct event *event)
{
    event->occurred_us = value->text ? value->integer : now_us;
    if (event->occurred_us > now_us + EVENT_FUTURE_S * USEC_PER_SEC) {
        return problem_field(problem, name, "out_of_range", "lies more than %d minutes ahead",
                             EVENT_FUTURE_S / 60);
    }
    if (event->occurred_us < 0) {
        return problem_field(problem, name, "out_of_range", "lies before 1970");
    }
    return ERR_OK;
}

enum err event_take_time(struct problem *problem, const char *name, const struct value *value, int64_t now_us,
                         struct event *event)
{
    enum err e = take_any_time(problem, name, value, now_us, event);
    if (!e && event->occurred_us < now_us - EVENT_PAST_DAYS * USEC_PER_DAY) {
        return problem_field(problem, name, "out_of_range", "lies more than %d days back", EVENT_PAST_DAYS);
    }
    return e;
}

static const struct field FIELDS[] = {
    {"type", FIELD_STRING, FIELD_REQUIRED, 1, 1000, event_check_type},
    {"value", FIELD_NUMBER, FIELD_REQUIRED, 0, 0, NULL},
    {"user_id", FIELD_STRING, FIELD_REQUIRED, 1, EVENT_USER_MAX, NULL},
    {"metadata", FIELD_OBJECT, FIELD_NULLABLE, 0, 0, NULL},
    {"timestamp", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
    {"id", FIELD_STRING, FIELD_NULLABLE, 1, EVENT_ID_MAX, NULL},
    /* of an export, or an archive */
    {"received_at", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
    {"workspace_id", FIELD_INTEGER, FIELD_NULLABLE, 1, INT64_MAX, NULL},
};
enum { TYPE, VALUE, USER, METADATA, TIMESTAMP, ID, COUNT, RECEIVED = COUNT, WORKSPACE, COUNT_EXPORTED };

typedef enum err time_taker(struct problem *problem, const char *name, const struct value *value,
                            int64_t now_us, struct event *event);

/* `values` has room for `count`. */
static enum err read_event(struct problem *problem, struct json_object *object, int64_t now_us, size_t count,
                           time_taker *take_time, struct value *values, struct event *ret_event)
{
    struct event event = {.fate = EVENT_PENDING};
    enum err fields = validate_object(problem, "", object, FIELDS, count, values);
    enum err value = event_take_value(problem, "value", values[VALUE].text, values[VALUE].length, &event);
    enum err metadata = event_take_metadata(problem, "metadata", values[METADATA].json, &event);
    enum err time = take_time(problem, "timestamp", &values[TIMESTAMP], now_us, &event);
    if (fields || value || metadata || time) {
        return ERR_INVALID;
    }
    event.id = values[ID].text;
    event.id_length = values[ID].length;
    event.id_given = event.id != NULL;
    event.type = values[TYPE].text;
    event.type_length = values[TYPE].length;
    event.user_id = values[USER].text;
    event.user_id_length = values[USER].length;
    *ret_event = event;
    return ERR_OK;
}

enum err event_from_json(struct problem *problem, struct json_object *object, int64_t now_us,
                         struct event *ret_event)
{
    struct value values[COUNT];
    return read_event(problem, object, now_us, COUNT, event_take_time, values, ret_event);
}

enum err event_from_export(struct problem *problem, struct json_object *object, int64_t now_us,
                           struct event *ret_event, int64_t *ret_workspace_id)
{
    struct value values[COUNT_EXPORTED];
    enum err e = read_event(problem, object, now_us, COUNT_EXPORTED, take_any_time, values, ret_event);
    if (!e) {
        *ret_workspace_id =
            values[WORKSPACE].present && !values[WORKSPACE].is_null ? values[WORKSPACE].integer : 0;
    }
    return e;
}

static const char *copy_to(char **end, const char *text, size_t length)
{
    char *copy = memcpy(*end, text, length);
    *end += length;
    return copy;
}

void event_keep(struct arena *arena, struct event *event)
{
    char made[UUID_TEXT_SIZE];
    uuid_v7(event->receipt);
    if (!event->id_given) {
        uuid_format(event->receipt, made);
        event->id = made;
        event->id_length = sizeof(made) - 1;
    }
    char *end = arena_alloc(arena, event->id_length + event->type_length + event->value_length +
                                       event->user_id_length + event->metadata_length);
    event->id = copy_to(&end, event->id, event->id_length);
    event->type = copy_to(&end, event->type, event->type_length);
    event->value = copy_to(&end, event->value, event->value_length);
    event->user_id = copy_to(&end, event->user_id, event->user_id_length);
    if (event->metadata) {
        event->metadata = copy_to(&end, event->metadata, event->metadata_length);
    }
}

struct recording {
    struct ingest *ingest;
    struct ingest_ticket ticket;
    event_answer *answer;
    void *state;
};

static void start_recording(void *state, request_wake *wake, void *argument)
{
    struct recording *recording = state;
    if (recording->ticket.count == 0) {
        wake(argument);
        return;
    }
    recording->ticket.done = wake;
    recording->ticket.argument = argument;
    ingest_record(recording->ingest, &recording->ticket);
}

static enum err finish_recording(struct request *request, struct response *response, void *state)
{
    const struct recording *recording = state;
    const struct ingest_ticket *ticket = &recording->ticket;
    if (ticket->result == ERR_UNAVAILABLE) {
        return problem_say(&request->problem, ticket->result,
                           "The event could not be recorded in time. Send it again with the same id.");
    }
    for (size_t i = 0; !ticket->result && i < ticket->count; i++) {
        if (ticket->events[i].fate == EVENT_HOMELESS) {
            return challenge_bearer(request, response, "the workspace is closed");
        }
    }
    return ticket->result ? ticket->result : recording->answer(request, response, recording->state);
}

enum err event_record(struct request *request, struct event *events, size_t count, event_answer *answer,
                      void *state)
{
    struct recording *recording = arena_alloc(request->arena, sizeof(*recording));
    *recording = (struct recording){
        .ingest = request->services->ingest,
        .ticket = {.workspace_id = request->principal.workspace_id, .events = events, .count = count},
        .answer = answer,
        .state = state,
    };
    return request_wait(request, &(struct request_wait){start_recording, finish_recording, recording});
}
