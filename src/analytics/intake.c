/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/intake.h"

#include <string.h>
#include <strings.h>

#include "analytics/batch.h"
#include "analytics/cloudevent.h"
#include "analytics/event.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "http/validate.h"

/* ---- the forms ---- */

typedef enum err intake_handler(struct request *request, event_reader *read);

static intake_handler take_one, take_one_or_list, take_list, take_lines, take_data;

struct form {
    const char *media_type;
    intake_handler *take;
    event_reader *read;
};

static const struct form FORMS[] = {
    {"application/json", take_one_or_list, event_from_json},
    {"application/x-ndjson", take_lines, event_from_json},
    {"application/cloudevents+json", take_one, cloudevent_from_json},
    {"application/cloudevents-batch+json", take_list, cloudevent_from_json},
};
/* CloudEvents' binary mode has any JSON type, and headers that tell it from the first one above. */
static const struct form BINARY = {"", take_data, cloudevent_from_json};

static const struct form *find_form(const struct request *request)
{
    static const char CLOUDEVENTS[] = "application/cloudevents"; /* headers do not count beside these types */
    const char *type = request_variable(request, "CONTENT_TYPE");
    size_t length = type ? strcspn(type, "; \t") : 0;
    bool own = type && strncasecmp(type, CLOUDEVENTS, sizeof(CLOUDEVENTS) - 1) == 0;

    if (!own && cloudevent_in_headers(request)) {
        return request->body_length == 0 || (type && cloudevent_is_json(type)) ? &BINARY : NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(FORMS); i++) {
        if (length == strlen(FORMS[i].media_type) && strncasecmp(type, FORMS[i].media_type, length) == 0) {
            return &FORMS[i];
        }
    }
    return NULL;
}

enum err intake_check_media_type(struct request *request)
{
    const char *list = "";
    if (find_form(request)) {
        return ERR_OK;
    }
    for (size_t i = 0; i < ARRAY_SIZE(FORMS); i++) {
        list = arena_printf(request->arena, "%s%s%s", list, i ? ", " : "", FORMS[i].media_type);
    }
    return problem_say(
        &request->problem, ERR_MEDIA_TYPE,
        "Send the body with one of these as Content-Type: %s. A CloudEvent in binary mode, with its "
        "ce- headers, takes application/json and other JSON types.",
        list);
}

enum err intake_events(struct request *request, struct response *response)
{
    (void)response; /* answered when the events are recorded */
    const struct form *form = find_form(request);
    return form ? form->take(request, form->read) : ERR_MEDIA_TYPE;
}

/* ---- one event ---- */

static enum err answer_one(struct request *request, struct response *response, void *state)
{
    const struct event *event = state;
    if (event->fate == EVENT_REFUSED) {
        return problem_field(&request->problem, "body", "refused", BATCH_REFUSED);
    }
    bool recorded = event->fate == EVENT_RECORDED;
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "status", recorded ? "recorded" : "duplicate");
    json_add(answer, "id", json_object_new_string_len(event->id, (int)event->id_length));
    json_add_time(answer, "timestamp", event->occurred_us);
    response_json(response, recorded ? 201 : 200, answer);
    return ERR_OK;
}

static enum err record_one(struct request *request, struct json_object *json, event_reader *read)
{
    struct event *event = arena_alloc(request->arena, sizeof(*event));
    enum err e = read(&request->problem, json, clock_now_us(), event);
    if (e) {
        return e;
    }
    event_keep(request->arena, event);
    return event_record(request, event, 1, answer_one, event);
}

static enum err parse_one(struct request *request, struct json_object **ret_json)
{
    if (request->body_length > EVENT_TEXT_MAX) {
        return problem_say(&request->problem, ERR_TOO_LARGE, "One event may have at most %d bytes.",
                           EVENT_TEXT_MAX);
    }
    return validate_parse(request, ret_json);
}

static enum err take_one(struct request *request, event_reader *read)
{
    JSON_AUTO json = NULL;
    enum err e = parse_one(request, &json);
    return e ? e : record_one(request, json, read);
}

static enum err take_data(struct request *request, event_reader *read)
{
    JSON_AUTO data = NULL;
    JSON_AUTO json = NULL;
    enum err e = request->body_length ? parse_one(request, &data) : ERR_OK;
    e = e ? e : cloudevent_from_headers(request, data, &json);
    return e ? e : record_one(request, json, read);
}

/* ---- many ---- */

/* Room for as many texts as `length` bytes can hold, and no more than a request may. */
static struct json_span *make_room(struct arena *arena, size_t length)
{
    size_t most = length / 2 + 1; /* each has a byte, and one to part it from the next */
    return arena_alloc(arena, (most < EVENT_BATCH_MAX ? most : EVENT_BATCH_MAX) * sizeof(struct json_span));
}

static enum err record_many(struct request *request, const struct json_span *texts, size_t count,
                            const char *field, event_reader *read)
{
    if (count == 0) {
        return problem_field(&request->problem, field, "too_short", "must have at least 1 event");
    }
    if (count > EVENT_BATCH_MAX) {
        return problem_field(&request->problem, field, "too_long", "must have at most %d events",
                             EVENT_BATCH_MAX);
    }
    return batch_record(request, texts, count, read);
}

static enum err malformed(struct request *request, const struct json_fault *fault)
{
    return problem_say(&request->problem, ERR_BAD_REQUEST, "The body is not valid JSON: at byte %zu, %s.",
                       fault->offset, fault->reason);
}

static enum err record_list(struct request *request, const struct json_span *list, const char *field,
                            event_reader *read)
{
    struct json_span *texts = make_room(request->arena, list->length);
    struct json_walk walk;
    size_t count = 0;
    json_walk_start(&walk, list->text, list->length);
    for (; json_walk_next(&walk); count++) {
        if (count < EVENT_BATCH_MAX) {
            texts[count] = walk.value;
        }
    }
    if (walk.fault.reason) {
        return malformed(request, &walk.fault);
    }
    if (walk.kind != '[') {
        return problem_field(&request->problem, field, "type", "must be an array");
    }
    return record_many(request, texts, count, field, read);
}

static enum err take_list(struct request *request, event_reader *read)
{
    struct json_span whole = {request->body, request->body_length};
    return record_list(request, &whole, "body", read);
}

static enum err take_one_or_list(struct request *request, event_reader *read)
{
    struct json_walk walk;
    json_walk_start(&walk, request->body, request->body_length);
    return walk.kind == '[' ? take_list(request, read) : take_one(request, read);
}

/* A line ends in a line feed or in the NUL behind the body, and neither is a blank. */
static bool is_blank(const char *line, size_t length)
{
    return strspn(line, " \t\r") >= length;
}

static enum err take_lines(struct request *request, event_reader *read)
{
    struct json_span *texts = make_room(request->arena, request->body_length);
    const char *at = request->body, *end = at + request->body_length;
    size_t count = 0;
    while (at < end) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((feed ? feed : end) - at);
        if (!is_blank(at, length)) {
            if (count < EVENT_BATCH_MAX) {
                texts[count] = (struct json_span){at, length};
            }
            count++;
        }
        at += length + 1;
    }
    return record_many(request, texts, count, "body", read);
}

/* ---- {"events": […]} ---- */

static enum err read_name(struct request *request, const struct json_span *name,
                          struct json_object **ret_name)
{
    struct json_fault fault = {0};
    bool ok = json_parse(name->text, name->length, ret_name, &fault);
    if (ok && strlen(json_object_get_string(*ret_name)) != (size_t)json_object_get_string_len(*ret_name)) {
        fault = (struct json_fault){.reason = "a name holds U+0000"};
        ok = false;
    }
    fault.offset += (size_t)(name->text - request->body);
    return ok ? ERR_OK : malformed(request, &fault);
}

/* Told as validate_object() tells it, which also cuts a long name. */
static void tell_unknown(struct problem *problem, struct json_object *name)
{
    struct value none;
    JSON_AUTO object = json_object_new_object();
    json_object_object_add(object, json_object_get_string(name), NULL);
    (void)validate_object(problem, "", object, NULL, 0, &none);
}

/* Find the list in the object around it, and note what else is there. Of a repeated name the last value
 * counts, here as well. */
static enum err open_envelope(struct request *request, struct json_span *ret_list)
{
    struct problem *problem = &request->problem;
    struct json_span list = {0};
    struct json_walk walk;

    json_walk_start(&walk, request->body, request->body_length);
    while (json_walk_next(&walk)) {
        if (walk.kind != '{') {
            continue; /* elements have no names; only whether all of it is JSON is of interest */
        }
        JSON_AUTO name = NULL;
        if (read_name(request, &walk.name, &name) != ERR_OK) {
            return ERR_BAD_REQUEST;
        }
        if (strcmp(json_object_get_string(name), "events") == 0) {
            list = walk.value;
        } else if (problem->count < PROBLEM_FIELDS_MAX) {
            tell_unknown(problem, name);
        } else {
            problem->count++;
        }
    }
    if (walk.fault.reason) {
        return malformed(request, &walk.fault);
    }
    if (walk.kind != '{') {
        return problem_field(problem, "body", "type", "must be an object");
    }
    if (!list.text) {
        return problem_field(problem, "events", "required", "is required");
    }
    *ret_list = list;
    return problem->count ? ERR_INVALID : ERR_OK;
}

enum err intake_batch(struct request *request, struct response *response)
{
    (void)response;
    struct json_span list;
    enum err e = open_envelope(request, &list);
    return e ? e : record_list(request, &list, "events", event_from_json);
}
