/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/call.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "identity/password.h"

static int code_of(enum err e)
{
    return e == ERR_NOT_FOUND ? CTL_NOT_FOUND : CTL_FAILED;
}

static void tell(const struct problem *problem, enum err e)
{
    JSON_AUTO told = problem_json(problem, e, "");
    struct json_object *detail;
    if (e == ERR_UNAVAILABLE) {
        fputs("tallygatectl: the database did not do it; see the line above\n", stderr);
        return;
    }
    if (e == ERR_UNAUTHENTICATED) { /* of somebody with a token that would be said of the token */
        fputs("tallygatectl: the account is switched off, or gone\n", stderr);
        return;
    }
    if (!problem->first && json_object_object_get_ex(told, "detail", &detail)) {
        fprintf(stderr, "tallygatectl: %s\n", json_object_get_string(detail));
    }
    for (const struct problem_field *field = problem->first; field; field = field->next) {
        fprintf(stderr, "tallygatectl: %s: %s\n", field->field, field->message);
    }
}

int ctl_call(struct ctl *ctl, const struct ctl_call *call, struct json_object **ret_answer)
{
    static const char *const NO_ENVIRONMENT[] = {NULL};
    struct arena arena = {0};
    struct buf answer;
    struct request request;
    struct response response;
    struct services services = {.config = ctl->config, .pg = ctl->pg, .hasher = password_hasher_new()};
    struct json_fault fault;

    *ret_answer = NULL;
    buf_init(&answer, RESPONSE_BODY_MAX);
    request_init(&request, &arena, &services, NO_ENVIRONMENT);
    response_init(&response, &arena, &answer);
    request.principal = (struct principal){.kind = PRINCIPAL_SHELL, .user_id = call->user_id};
    request.query = call->query ? call->query : "";
    if (call->id) {
        request.params[0] = (struct request_param){"id", call->id, strlen(call->id)};
        request.params_count = 1;
    }
    if (call->body) {
        request.body = json_text(call->body, &request.body_length);
    }
    enum err e = call->handler(&request, &response);
    if (e) {
        tell(&request.problem, e);
    } else if (answer.length) {
        (void)json_parse(answer.data, answer.length, ret_answer, &fault);
    }
    password_hasher_free(services.hasher);
    buf_free(&answer);
    arena_free(&arena);
    return e ? code_of(e) : CTL_OK;
}

void ctl_query_add(struct buf *query, const char *name, const char *value)
{
    static const char PLAIN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    if (!value) {
        return;
    }
    buf_printf(query, "%s%s=", query->length ? "&" : "", name);
    for (; *value; value++) {
        if (strchr(PLAIN, *value)) {
            buf_putc(query, *value);
        } else {
            buf_printf(query, "%%%02X", (unsigned char)*value);
        }
    }
}
