/* SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static bool request_id_valid(const char *id)
{
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return n > 0 && n <= REQUEST_ID_MAX && id[n] == '\0';
}

/* nginx checked or made the id and echoes it; without nginx in front we make one. */
static void set_request_id(struct request *request)
{
    const char *given = request_variable(request, "REQUEST_ID");
    if (given && request_id_valid(given)) {
        request->request_id = arena_strdup(request->arena, given);
        return;
    }
    uint8_t random[16];
    char *text = arena_alloc(request->arena, 2 * sizeof(random) + 1);
    crypto_random(random, sizeof(random));
    crypto_hex(random, sizeof(random), text);
    request->request_id = text;
}

void request_init(struct request *request, struct arena *arena, struct services *services,
                  const char *const *environment)
{
    *request = (struct request){.arena = arena,
                                .services = services,
                                .problem = {.arena = arena},
                                .environment = environment,
                                .body = ""};
    const char *method = request_variable(request, "REQUEST_METHOD");
    const char *uri = request_variable(request, "REQUEST_URI");
    /* Copied, as the log line is written when the parameters are gone. */
    request->method = method ? arena_strdup(arena, method) : "GET";
    if (!uri || *uri != '/') {
        uri = "/";
    }
    size_t path_length = strcspn(uri, "?");
    request->path = arena_strndup(arena, uri, path_length);
    request->query = uri[path_length] == '?' ? uri + path_length + 1 : "";
    set_request_id(request);
    trace_place_new(request_variable(request, "HTTP_TRACEPARENT"), &request->trace);
    trace_place_format(&request->trace, request->traceparent);
}

const char *request_variable(const struct request *request, const char *name)
{
    size_t length = strlen(name);
    for (const char *const *entry = request->environment; entry && *entry; entry++) {
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            const char *value = *entry + length + 1;
            return *value ? value : NULL;
        }
    }
    return NULL;
}

const char *request_network(struct arena *arena, const char *address)
{
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    if (!address || inet_pton(AF_INET6, address, &v6) != 1) {
        return address ? address : "";
    }
    memset(v6.s6_addr + 8, 0, 8);
    return arena_strdup(arena, inet_ntop(AF_INET6, &v6, text, sizeof(text)));
}

const char *request_param(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->params_count; i++) {
        if (strcmp(request->params[i].name, name) == 0) {
            return request->params[i].text;
        }
    }
    abort(); /* the handler asks for a name that its route's pattern does not have */
}

int64_t request_param_int(const struct request *request, const char *name)
{
    return strtoll(request_param(request, name), NULL, 10);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

const char *request_decode(struct arena *arena, const char *text, size_t length, bool plus,
                           size_t *ret_length)
{
    char *decoded = arena_alloc(arena, length + 1);
    size_t out = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 1 < length ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < length ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0') {
            return NULL;
        }
        decoded[out++] = c;
    }
    decoded[out] = '\0';
    *ret_length = out;
    return utf8_valid(decoded, out) ? decoded : NULL;
}

/* `what` is what `at` is the text of, in words. */
static enum err parse_pairs(struct request *request, const char *at, const char *what)
{
    while (*at) {
        size_t length = strcspn(at, "&");
        const char *equals = memchr(at, '=', length);
        size_t name_length = equals ? (size_t)(equals - at) : length;
        if (length > 0) {
            if (request->query_count == REQUEST_QUERY_MAX) {
                return problem_say(&request->problem, ERR_BAD_REQUEST, "More than %d parameters in the %s.",
                                   REQUEST_QUERY_MAX, what);
            }
            struct request_param *param = &request->query_params[request->query_count++];
            size_t ignored;
            param->name = request_decode(request->arena, at, name_length, true, &ignored);
            param->text = request_decode(request->arena, equals ? equals + 1 : "",
                                         equals ? length - name_length - 1 : 0, true, &param->length);
            if (!param->name || !param->text) {
                return problem_say(&request->problem, ERR_BAD_REQUEST,
                                   "The %s has a broken escape, broken UTF-8 or a NUL.", what);
            }
        }
        at += length + (at[length] == '&');
    }
    return ERR_OK;
}

enum err request_parse_query(struct request *request)
{
    return parse_pairs(request, request->query, "query string");
}

enum err request_parse_form(struct request *request)
{
    if (strlen(request->body) != request->body_length) {
        return problem_say(&request->problem, ERR_BAD_REQUEST, "The body has a NUL.");
    }
    return parse_pairs(request, request->body, "body");
}

enum err request_wait(struct request *request, const struct request_wait *wait)
{
    request->wait = *wait;
    return ERR_OK;
}
