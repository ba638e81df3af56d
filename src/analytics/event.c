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
              : "must start with a lower-case letter and have at most 50 letters, digits and the signs _ . : -";
}

static const struct field FIELDS[] = {
    {"type", FIELD_STRING, FIELD_REQUIRED, 1, 1000, event_check_type},
    {"value", FIELD_NUMBER, FIELD_REQUIRED, 0, 0, NULL},
    {"user_id", FIELD_STRING, FIELD_REQUIRED, 1, EVENT_USER_MAX, NULL},
    {"metadata", FIELD_OBJECT, FIELD_NULLABLE, 0, 0, NULL},
    {"timestamp", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
    {"id", FIELD_STRING, FIELD_NULLABLE, 1, EVENT_ID_MAX, NULL},
};
enum { TYPE, VALUE, USER, METADATA, TIMESTAMP, ID, COUNT };

static enum err take_metadata(struct problem *problem, const char *prefix, struct json_object *json,
                              struct event *event)
{
    if (!json) {
        return ERR_OK;
    }
    const char *name = arena_printf(problem->arena, "%smetadata", prefix);
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

static enum err take_time(struct problem *problem, const char *prefix, const struct value *value,
                          int64_t now_us, struct event *event)
{
    event->occurred_us = value->text ? value->integer : now_us;
    const char *name = arena_printf(problem->arena, "%stimestamp", prefix);
    if (event->occurred_us > now_us + EVENT_FUTURE_S * USEC_PER_SEC) {
        return problem_field(problem, name, "out_of_range", "lies more than %d minutes ahead",
                             EVENT_FUTURE_S / 60);
    }
    if (event->occurred_us < now_us - EVENT_PAST_DAYS * USEC_PER_DAY) {
        return problem_field(problem, name, "out_of_range", "lies more than %d days back", EVENT_PAST_DAYS);
    }
    return ERR_OK;
}

/* As it was sent: json_parse() put `.0` behind an integer past 64 bits. */
static size_t value_length(const struct value *value)
{
    size_t n = value->length;
    return n > 2 && memcmp(value->text + n - 2, ".0", 2) == 0 ? n - 2 : n;
}

enum err event_from_json(struct problem *problem, const char *prefix, struct json_object *object,
                         int64_t now_us, struct event *ret_event)
{
    struct value values[COUNT];
    struct event event = {.fate = EVENT_PENDING};
    enum err e = validate_object(problem, prefix, object, FIELDS, COUNT, values);
    if (value_length(&values[VALUE]) > EVENT_VALUE_MAX) {
        e = problem_field(problem, arena_printf(problem->arena, "%svalue", prefix), "too_long",
                          "must have at most %d characters", EVENT_VALUE_MAX);
    }
    enum err e_metadata = take_metadata(problem, prefix, values[METADATA].json, &event);
    enum err e_time = take_time(problem, prefix, &values[TIMESTAMP], now_us, &event);
    if (e || e_metadata || e_time) {
        return ERR_INVALID;
    }
    uuid_v7(event.receipt);
    event.id = values[ID].text;
    event.id_length = values[ID].length;
    if (!event.id) {
        char *made = arena_alloc(problem->arena, UUID_TEXT_SIZE);
        uuid_format(event.receipt, made);
        event.id = made;
        event.id_length = UUID_TEXT_SIZE - 1;
    }
    event.type = values[TYPE].text;
    event.type_length = values[TYPE].length;
    event.value = values[VALUE].text;
    event.value_length = values[VALUE].length;
    event.user_id = values[USER].text;
    event.user_id_length = values[USER].length;
    *ret_event = event;
    return ERR_OK;
}

static enum err record(struct request *request, struct response *response, struct event *events, size_t count)
{
    enum err e = ingest_record(request->services->ingest, request->principal.workspace_id, events, count);
    for (size_t i = 0; !e && i < count; i++) {
        if (events[i].fate == EVENT_HOMELESS) {
            e = challenge_bearer(request, response, "the workspace is closed");
        }
    }
    if (e == ERR_UNAVAILABLE) {
        return problem_say(&request->problem, e,
                           "The event could not be recorded in time. Send it again with the same id.");
    }
    return e;
}

static const char REFUSED_MESSAGE[] = "is not storable: the database refuses it";

enum err event_create(struct request *request, struct response *response)
{
    JSON_AUTO body = NULL;
    struct event event;
    char id[4 * EVENT_ID_MAX + 1];

    enum err e = validate_parse(request, &body);
    e = e ? e : event_from_json(&request->problem, "", body, clock_now_us(), &event);
    e = e ? e : record(request, response, &event, 1);
    if (!e && event.fate == EVENT_REFUSED) {
        e = problem_field(&request->problem, "body", "refused", REFUSED_MESSAGE);
    }
    if (e) {
        return e;
    }
    bool recorded = event.fate == EVENT_RECORDED;
    memcpy(id, event.id, event.id_length);
    id[event.id_length] = '\0';
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "status", recorded ? "recorded" : "duplicate");
    json_add_string(answer, "id", id);
    json_add_time(answer, "timestamp", event.occurred_us);
    response_json(response, recorded ? 201 : 200, answer);
    return ERR_OK;
}

/* The events of a batch as they were sent, and where each stands among the valid ones. */
struct batch {
    struct event *events;
    size_t *indexes; /* of the request's list */
    size_t count;
    struct json_object *rejected;
};

static void reject(struct batch *batch, size_t index, const struct problem *problem)
{
    struct json_object *item = json_object_new_object();
    json_add_int(item, "index", (int64_t)index);
    json_add(item, "errors", problem_fields_json(problem));
    json_object_array_add(batch->rejected, item);
}

static int compare_indexes(const void *a, const void *b)
{
    struct json_object *const *left = a, *const *right = b;
    int64_t l = json_object_get_int64(json_object_object_get(*left, "index"));
    int64_t r = json_object_get_int64(json_object_object_get(*right, "index"));
    return (l > r) - (l < r);
}

static void take_events(struct request *request, struct json_object *list, struct batch *batch)
{
    size_t total = json_object_array_length(list);
    int64_t now_us = clock_now_us();
    batch->events = arena_zalloc(request->arena, total, sizeof(*batch->events));
    batch->indexes = arena_zalloc(request->arena, total, sizeof(*batch->indexes));
    for (size_t i = 0; i < total; i++) {
        struct problem problem = {.arena = request->arena};
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_object)) {
            problem_field(&problem, "event", "type", "must be an object");
            reject(batch, i, &problem);
        } else if (event_from_json(&problem, "", item, now_us, &batch->events[batch->count]) == ERR_OK) {
            batch->indexes[batch->count++] = i;
        } else {
            reject(batch, i, &problem);
        }
    }
}

enum err event_create_batch(struct request *request, struct response *response)
{
    static const struct field BODY[] = {{"events", FIELD_ARRAY, FIELD_REQUIRED, 1, EVENT_BATCH_MAX, NULL}};
    struct value values[1];
    struct batch batch = {0};
    JSON_AUTO body = NULL;

    enum err e = validate_body(request, BODY, 1, &body, values);
    if (e) {
        return e;
    }
    JSON_AUTO rejected = json_object_new_array();
    batch.rejected = rejected;
    take_events(request, values[0].json, &batch);
    e = batch.count ? record(request, response, batch.events, batch.count) : ERR_OK;
    if (e) {
        return e;
    }
    int64_t accepted = 0, duplicates = 0;
    for (size_t i = 0; i < batch.count; i++) {
        accepted += batch.events[i].fate == EVENT_RECORDED;
        duplicates += batch.events[i].fate == EVENT_DUPLICATE;
        if (batch.events[i].fate == EVENT_REFUSED) {
            struct problem problem = {.arena = request->arena};
            problem_field(&problem, "event", "refused", REFUSED_MESSAGE);
            reject(&batch, batch.indexes[i], &problem);
        }
    }
    json_object_array_sort(rejected, compare_indexes);
    JSON_AUTO answer = json_object_new_object();
    json_add_int(answer, "accepted", accepted);
    json_add_int(answer, "duplicates", duplicates);
    json_add(answer, "rejected", json_object_get(rejected));
    response_json(response, 200, answer);
    return ERR_OK;
}
