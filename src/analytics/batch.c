/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How memory stays within bounds: one event's tree lives at a time, and what is noted on one event's
 * faults is forgotten as soon as it is put into words. What stays until the answer is a copy of each
 * valid event's texts, which is no more than was sent, and the words, of which there is a limit: the first
 * error of each rejected event is always told, the others as long as FURTHER_ERRORS_MAX lasts. So 10,000
 * events that each have 64 unknown fields do not make an answer ten times their own size.
 */
#include "analytics/batch.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

enum { FURTHER_ERRORS_MAX = 1000 };

struct batch {
    struct arena *arena; /* the request's */
    event_reader *read;
    int64_t now_us;
    struct json_reader reader;
    struct arena scratch; /* one event's faults */
    struct buf words;     /* the same as JSON */

    size_t total;
    const char **errors;  /* of each text, as a JSON list; NULL: none */
    struct event *events; /* the valid ones */
    size_t *indexes;      /* and where each stands among the texts */
    size_t count;
    const char *last_error;
    size_t further_errors;
};

static void put_string(struct buf *buf, const char *name, const char *text)
{
    buf_puts(buf, name);
    buf_put_json_string(buf, text, strlen(text));
}

static void reject(struct batch *batch, size_t index, const struct problem *problem)
{
    struct buf *words = &batch->words;
    buf_reset(words);
    for (const struct problem_field *error = problem->first; error; error = error->next) {
        if (error != problem->first && batch->further_errors++ >= FURTHER_ERRORS_MAX) {
            break;
        }
        put_string(words, error == problem->first ? "[{\"field\":" : ",{\"field\":", error->field);
        put_string(words, ",\"code\":", error->code);
        put_string(words, ",\"message\":", error->message);
        buf_putc(words, '}');
    }
    buf_putc(words, ']');
    /* What is wrong is often the same each time, and then is kept once. */
    bool same = batch->last_error && strcmp(batch->last_error, buf_text(words)) == 0;
    batch->last_error =
        same ? batch->last_error : arena_strndup(batch->arena, buf_text(words), words->length);
    batch->errors[index] = batch->last_error;
}

static enum err read_event(struct batch *batch, struct problem *problem, const struct json_span *text)
{
    JSON_AUTO json = NULL;
    struct json_fault fault;
    struct event *event = &batch->events[batch->count];

    if (text->length > EVENT_TEXT_MAX) {
        return problem_field(problem, "event", "too_long", "must have at most %d bytes", EVENT_TEXT_MAX);
    }
    if (!json_read(&batch->reader, text->text, text->length, &json, &fault)) {
        return problem_field(problem, "event", "format", "is not valid JSON: at byte %zu, %s", fault.offset,
                             fault.reason);
    }
    if (!json_object_is_type(json, json_type_object)) {
        return problem_field(problem, "event", "type", "must be an object");
    }
    enum err e = batch->read(problem, json, batch->now_us, event);
    if (!e) {
        event_keep(batch->arena, event);
    }
    return e;
}

static void read_events(struct batch *batch, const struct json_span *texts)
{
    for (size_t i = 0; i < batch->total; i++) {
        struct problem problem = {.arena = &batch->scratch};
        if (read_event(batch, &problem, &texts[i]) == ERR_OK) {
            batch->indexes[batch->count++] = i;
        } else {
            reject(batch, i, &problem);
        }
        arena_reset(&batch->scratch);
    }
}

static enum err answer(struct request *request, struct response *response, void *state)
{
    (void)request;
    struct batch *batch = state;
    static const char REFUSED[] =
        "[{\"field\":\"event\",\"code\":\"refused\",\"message\":\"" BATCH_REFUSED "\"}]";
    static const char PENDING[] =
        "[{\"field\":\"event\",\"code\":\"unavailable\",\"message\":\"could not be recorded in time; send "
        "it again with the same id\"}]";
    struct buf *body = response->body;
    size_t accepted = 0, duplicates = 0;
    bool any = false;

    for (size_t i = 0; i < batch->count; i++) {
        accepted += batch->events[i].fate == EVENT_RECORDED;
        duplicates += batch->events[i].fate == EVENT_DUPLICATE;
        if (batch->events[i].fate == EVENT_REFUSED) {
            batch->errors[batch->indexes[i]] = REFUSED;
        } else if (batch->events[i].fate == EVENT_PENDING) {
            batch->errors[batch->indexes[i]] = PENDING;
        }
    }
    buf_reset(body);
    buf_printf(body, "{\"accepted\":%zu,\"duplicates\":%zu,\"rejected\":[", accepted, duplicates);
    for (size_t i = 0; i < batch->total; i++) {
        if (batch->errors[i]) {
            buf_printf(body, "%s{\"index\":%zu,\"errors\":", any ? "," : "", i);
            buf_puts(body, batch->errors[i]);
            buf_putc(body, '}');
            any = true;
        }
    }
    buf_puts(body, "]}\n");
    response->status = 200;
    response->content_type = "application/json";
    return ERR_OK;
}

enum err batch_record(struct request *request, const struct json_span *texts, size_t count,
                      event_reader *read)
{
    struct batch *batch = arena_alloc(request->arena, sizeof(*batch));
    *batch = (struct batch){
        .arena = request->arena,
        .read = read,
        .now_us = clock_now_us(),
        .total = count,
        .errors = arena_zalloc(request->arena, count, sizeof(*batch->errors)),
        .events = arena_alloc(request->arena, count * sizeof(*batch->events)),
        .indexes = arena_alloc(request->arena, count * sizeof(*batch->indexes)),
    };
    buf_init(&batch->words, RESPONSE_BODY_MAX);
    read_events(batch, texts);
    json_reader_free(&batch->reader);
    arena_free(&batch->scratch);
    buf_free(&batch->words);
    return event_record(request, batch->events, batch->count, answer, batch);
}
