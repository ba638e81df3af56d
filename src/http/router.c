/* SPDX-License-Identifier: Apache-2.0 */
#include "http/router.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

enum { SEGMENTS_MAX = 8, TEXT_PARAM_MAX = 255 };

enum segment_type { SEGMENT_LITERAL, SEGMENT_INT, SEGMENT_TEXT };

struct segment {
    enum segment_type type;
    char *text; /* the literal, or the parameter's name */
};

struct compiled_route {
    const struct route *route;
    struct segment segments[SEGMENTS_MAX];
    size_t count;
};

struct router {
    struct compiled_route *routes;
    size_t count;
};

/* A request's path, cut and decoded. */
struct path {
    const char *segments[SEGMENTS_MAX];
    size_t lengths[SEGMENTS_MAX];
    size_t count;
};

static void compile_segment(struct segment *segment, const char *text, size_t length)
{
    char *copy = mem_alloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    segment->text = copy;
    segment->type = SEGMENT_LITERAL;
    if (*copy != '{') {
        return;
    }
    char *colon = strchr(copy, ':');
    char *close = strchr(copy, '}');
    if (!colon || !close || close[1]) {
        abort();
    }
    *colon = *close = '\0';
    segment->type = strcmp(colon + 1, "int") == 0 ? SEGMENT_INT : SEGMENT_TEXT;
    memmove(copy, copy + 1, strlen(copy));
}

static void compile_route(struct compiled_route *compiled, const struct route *route)
{
    compiled->route = route;
    const char *at = route->pattern;
    while (*at == '/') {
        at++;
        size_t length = strcspn(at, "/");
        if (compiled->count == SEGMENTS_MAX || length == 0) {
            abort();
        }
        compile_segment(&compiled->segments[compiled->count++], at, length);
        at += length;
    }
}

struct router *router_new(const struct route *routes, size_t count)
{
    struct router *router = mem_zalloc(1, sizeof(*router));
    router->routes = mem_zalloc(count, sizeof(*router->routes));
    router->count = count;
    for (size_t i = 0; i < count; i++) {
        compile_route(&router->routes[i], &routes[i]);
    }
    return router;
}

void router_free(struct router *router)
{
    if (!router) {
        return;
    }
    for (size_t i = 0; i < router->count; i++) {
        for (size_t s = 0; s < router->routes[i].count; s++) {
            free(router->routes[i].segments[s].text);
        }
    }
    free(router->routes);
    free(router);
}

/* Without the prefix under which every path is served as well. */
static const char *strip_prefix(const char *path)
{
    static const char PREFIX[] = "/api/v1";
    size_t length = sizeof(PREFIX) - 1;
    return strncmp(path, PREFIX, length) == 0 && path[length] == '/' ? path + length : path;
}

/* ERR_NOT_FOUND when no route can have this shape, ERR_BAD_REQUEST when it cannot be decoded. */
static enum err cut_path(struct request *request, struct path *path)
{
    const char *at = strip_prefix(request->path);
    while (*at == '/') {
        at++;
        size_t length = strcspn(at, "/");
        if (path->count == SEGMENTS_MAX || length == 0) {
            return ERR_NOT_FOUND;
        }
        size_t index = path->count++;
        path->segments[index] = request_decode(request->arena, at, length, false, &path->lengths[index]);
        if (!path->segments[index]) {
            return problem_say(&request->problem, ERR_BAD_REQUEST,
                               "The path has a broken escape, broken UTF-8 or a NUL.");
        }
        at += length;
    }
    return ERR_OK;
}

/* Whether the literal parts agree; how many do tells the better of two matches. */
static bool shape_matches(const struct compiled_route *compiled, const struct path *path,
                          size_t *ret_literals)
{
    size_t literals = 0;
    if (compiled->count != path->count) {
        return false;
    }
    for (size_t i = 0; i < path->count; i++) {
        if (compiled->segments[i].type == SEGMENT_LITERAL) {
            if (strcmp(compiled->segments[i].text, path->segments[i]) != 0) {
                return false;
            }
            literals++;
        }
    }
    *ret_literals = literals;
    return true;
}

static bool is_positive_int(const char *text)
{
    if (*text < '1' || *text > '9' || text[strspn(text, "0123456789")]) {
        return false;
    }
    errno = 0;
    (void)strtoll(text, NULL, 10);
    return errno == 0;
}

static enum err take_params(const struct compiled_route *compiled, const struct path *path,
                            struct request *request)
{
    enum err e = ERR_OK;
    for (size_t i = 0; i < path->count; i++) {
        const struct segment *segment = &compiled->segments[i];
        if (segment->type == SEGMENT_LITERAL) {
            continue;
        }
        if (segment->type == SEGMENT_INT && !is_positive_int(path->segments[i])) {
            e = problem_field(&request->problem, segment->text, "type", "must be a positive whole number");
        } else if (utf8_count(path->segments[i], path->lengths[i]) > TEXT_PARAM_MAX) {
            e = problem_field(&request->problem, segment->text, "too_long", "must have at most %d characters",
                              TEXT_PARAM_MAX);
        }
        request->params[request->params_count++] = (struct request_param){
            .name = segment->text, .text = path->segments[i], .length = path->lengths[i]};
    }
    return e;
}

static const char *list_allowed(const struct router *router, const struct path *path, size_t literals,
                                struct arena *arena)
{
    const char *allow = "OPTIONS";
    for (size_t i = 0; i < router->count; i++) {
        size_t own;
        if (shape_matches(&router->routes[i], path, &own) && own == literals) {
            const char *method = router->routes[i].route->method;
            allow =
                arena_printf(arena, "%s%s, %s", method, strcmp(method, "GET") == 0 ? ", HEAD" : "", allow);
        }
    }
    return allow;
}

enum err router_match(const struct router *router, struct request *request, const char **ret_allow)
{
    struct path path = {.count = 0};
    enum err e = cut_path(request, &path);
    if (e) {
        return e;
    }
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    const struct compiled_route *found = NULL;
    size_t best = 0;
    bool any = false;
    for (size_t i = 0; i < router->count; i++) {
        size_t literals;
        if (!shape_matches(&router->routes[i], &path, &literals) || (any && literals < best)) {
            continue;
        }
        if (!any || literals > best) {
            found = NULL;
        }
        any = true;
        best = literals;
        if (strcmp(router->routes[i].route->method, method) == 0) {
            found = &router->routes[i];
        }
    }
    if (!any) {
        return ERR_NOT_FOUND;
    }
    if (!found) {
        *ret_allow = list_allowed(router, &path, best, request->arena);
        return strcmp(request->method, "OPTIONS") == 0 ? ERR_OK : ERR_METHOD;
    }
    request->route = found->route;
    return take_params(found, &path, request);
}
