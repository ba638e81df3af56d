/* SPDX-License-Identifier: Apache-2.0 */
#include "http/problem.h"

#include <stdarg.h>

#include "base/json.h"

enum err problem_say(struct problem *problem, enum err e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->detail = arena_vprintf(problem->arena, format, args);
    va_end(args);
    return e;
}

enum err problem_oauth(struct problem *problem, enum err e, const char *code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem->detail = arena_vprintf(problem->arena, format, args);
    va_end(args);
    problem->oauth_code = code;
    return e;
}

enum err problem_field(struct problem *problem, const char *field, const char *code, const char *format, ...)
{
    if (problem->count++ >= PROBLEM_FIELDS_MAX) {
        return ERR_INVALID;
    }
    struct problem_field *entry = arena_alloc(problem->arena, sizeof(*entry));
    va_list args;
    va_start(args, format);
    *entry = (struct problem_field){
        .field = field, .code = code, .message = arena_vprintf(problem->arena, format, args)};
    va_end(args);
    if (problem->last) {
        problem->last->next = entry;
    } else {
        problem->first = entry;
    }
    problem->last = entry;
    return ERR_INVALID;
}

struct json_object *problem_fields_json(const struct problem *problem)
{
    struct json_object *list = json_object_new_array();
    for (const struct problem_field *entry = problem->first; entry; entry = entry->next) {
        struct json_object *item = json_object_new_object();
        json_add_string(item, "field", entry->field);
        json_add_string(item, "code", entry->code);
        json_add_string(item, "message", entry->message);
        json_object_array_add(list, item);
    }
    return list;
}

/* One sentence that says what is wrong. */
static const char *detail_of(const struct problem *problem, enum err e)
{
    if (problem->detail) {
        return problem->detail;
    }
    if (problem->count > 1) {
        return arena_printf(problem->arena, "%zu fields are not valid.", problem->count);
    }
    if (problem->first) {
        return arena_printf(problem->arena, "%s: %s", problem->first->field, problem->first->message);
    }
    return err_info(e)->detail;
}

struct json_object *problem_json(const struct problem *problem, enum err e, const char *request_id)
{
    const struct err_info *info = err_info(e);
    struct json_object *object = json_object_new_object();
    const char *type = arena_printf(problem->arena, "/problems/%s", info->slug);

    json_add_string(object, "type", type);
    json_add_string(object, "title", info->title);
    json_add_int(object, "status", info->status);
    json_add_string(object, "detail", detail_of(problem, e));
    json_add_string(object, "request_id", request_id);
    if (problem->first) {
        json_add(object, "errors", problem_fields_json(problem));
    }
    return object;
}

/* The code for what is found wrong before, or below, anything that knows of OAuth. */
static const char *oauth_code_of(enum err e)
{
    switch (e) {
    case ERR_UNAVAILABLE:
        return "temporarily_unavailable";
    case ERR_INTERNAL:
        return "server_error";
    case ERR_TOO_MANY:
        return "slow_down"; /* RFC 8628 has the word for it */
    case ERR_UNAUTHENTICATED:
        return "invalid_client";
    default:
        return "invalid_request";
    }
}

struct json_object *problem_oauth_json(const struct problem *problem, enum err e, const char *request_id,
                                       int *ret_status)
{
    struct json_object *object = json_object_new_object();
    json_add_string(object, "error", problem->oauth_code ? problem->oauth_code : oauth_code_of(e));
    json_add_string(object, "error_description", detail_of(problem, e));
    json_add_string(object, "request_id", request_id);
    *ret_status = err_info(e == ERR_INVALID ? ERR_BAD_REQUEST : e)->status;
    return object;
}
