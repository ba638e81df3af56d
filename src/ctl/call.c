/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/print.h"
#include "identity/password.h"
#include "identity/role.h"
#include "identity/workspace.h"

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

/* ---- answers in pieces ---- */

struct file_stream {
    struct response_stream stream;
    FILE *file;
};

static bool send_piece(struct response_stream *stream, const char *piece, size_t length)
{
    struct file_stream *out = (struct file_stream *)stream;
    stream->started = true;
    stream->broken =
        stream->broken || (piece ? fwrite(piece, 1, length, out->file) != length : ferror(out->file) != 0);
    return !stream->broken;
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
    struct file_stream out = {.stream = {.send = send_piece}, .file = call->stream};

    *ret_answer = NULL;
    buf_init(&answer, RESPONSE_BODY_MAX);
    request_init(&request, &arena, &services, NO_ENVIRONMENT);
    response_init(&response, &arena, &answer);
    request.principal = (struct principal){.kind = PRINCIPAL_SHELL,
                                           .user_id = call->user_id,
                                           .workspace_id = call->workspace_id,
                                           .may = role_may("owner")};
    request.method = "GET";
    response.stream = call->stream ? &out.stream : NULL;
    request.query = call->query ? call->query : "";
    const struct {
        const char *name, *text;
    } given[] = {{"id", call->id}, {"delivery_id", call->delivery_id}, {"run_id", call->run_id}};
    for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
        if (given[i].text) {
            request.params[request.params_count++] =
                (struct request_param){given[i].name, given[i].text, strlen(given[i].text)};
        }
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
    out.stream.broken = out.stream.broken || (call->stream && fflush(call->stream) != 0);
    if (!e && out.stream.broken) {
        fprintf(stderr, "tallygatectl: not all could be written\n");
        e = ERR_INTERNAL;
    }
    password_hasher_free(services.hasher);
    buf_free(&answer);
    arena_free(&arena);
    return e ? code_of(e) : CTL_OK;
}

int ctl_call_list(struct ctl *ctl, const struct ctl_call *call, struct json_object **ret_all)
{
    struct json_object *all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    char *cursor = NULL;
    int code;
    json_add(all, "items", items);
    do { /* page by page, until there is no next one */
        struct buf query;
        struct ctl_call page_call = *call;
        JSON_AUTO page = NULL;
        struct json_object *found = NULL, *next = NULL;
        buf_init(&query, 8192);
        buf_puts(&query, call->query ? call->query : "");
        ctl_query_add(&query, "limit", "1000");
        ctl_query_add(&query, "cursor", cursor);
        page_call.query = buf_text(&query);
        code = ctl_call(ctl, &page_call, &page);
        buf_free(&query);
        free(cursor);
        cursor = NULL;
        if (code) {
            break;
        }
        json_object_object_get_ex(page, "items", &found);
        for (size_t i = 0; i < json_object_array_length(found); i++) {
            json_object_array_add(items, json_object_get(json_object_array_get_idx(found, i)));
        }
        if (json_object_object_get_ex(page, "next_cursor", &next) && next) {
            cursor = mem_strdup(json_object_get_string(next));
        }
    } while (cursor);
    if (code) {
        json_object_put(all);
        all = NULL;
    }
    *ret_all = all;
    return code;
}

int ctl_call_enter(struct ctl *ctl, struct ctl_call *call, const char *workspace)
{
    enum err e = workspace_find(ctl->pg, workspace, &call->workspace_id, &call->user_id);
    if (e == ERR_NOT_FOUND) {
        fprintf(stderr, "tallygatectl: there is no workspace %s\n", workspace);
        return CTL_NOT_FOUND;
    }
    return e ? ctl_database_failed("workspace") : CTL_OK;
}

int ctl_call_print(struct ctl *ctl, struct ctl_call *call, const char *workspace, const char *done)
{
    JSON_AUTO answer = NULL;
    int code = ctl_call_enter(ctl, call, workspace);
    code = code ? code : ctl_call(ctl, call, &answer);
    if (!code && answer) {
        ctl_print(ctl, answer, "there are none");
    } else if (!code) {
        puts(ctl->json ? "{}" : done);
    }
    return code;
}

int ctl_call_about(struct ctl *ctl, int argc, char **argv, struct ctl_call *call, const char *command,
                   const char *done)
{
    if (argc != 3) {
        return ctl_usage(command);
    }
    call->id = argv[2];
    return ctl_call_print(ctl, call, argv[1], done);
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
