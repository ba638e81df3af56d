/* SPDX-License-Identifier: Apache-2.0 */
#include "http/cors.h"

#include <stdbool.h>
#include <string.h>

/* Whether `origin` is one of the words of `list`, byte for byte, as the standard compares. */
static bool is_listed(const char *list, const char *origin)
{
    size_t length = strlen(origin);
    for (const char *at = list; *at;) {
        size_t word = strcspn(at, " \t");
        if (word == length && memcmp(at, origin, length) == 0) {
            return true;
        }
        at += word;
        at += strspn(at, " \t");
    }
    return false;
}

static const char *allowed_origin(const struct request *request)
{
    const char *origin = request_variable(request, "HTTP_ORIGIN");
    return origin && is_listed(request->services->config->cors_origins, origin) ? origin : NULL;
}

void cors_headers(const struct request *request, struct response *response)
{
    if (!*request->services->config->cors_origins) {
        return;
    }
    response_header(response, "Vary", "Origin"); /* also without a match, or a cache would mix answers */
    const char *origin = allowed_origin(request);
    if (origin) {
        response_header(response, "Access-Control-Allow-Origin", origin);
        response_header(
            response, "Access-Control-Expose-Headers",
            "X-Request-ID, traceparent, Retry-After, Allow, WWW-Authenticate, ETag, Cache-Status, RateLimit, "
            "RateLimit-Policy, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Idempotent-Replayed, Location, Content-Disposition");
    }
}

void cors_preflight(const struct request *request, struct response *response, const char *allow)
{
    response_empty(response, 204);
    response_header(response, "Allow", allow);
    if (allowed_origin(request) && request_variable(request, "HTTP_ACCESS_CONTROL_REQUEST_METHOD")) {
        response_header(response, "Access-Control-Allow-Methods", allow);
        response_header(
            response, "Access-Control-Allow-Headers",
            "Authorization, X-API-Key, X-Workspace, Idempotency-Key, Content-Type, If-None-Match, Cache-Control, X-Request-ID, "
            "traceparent");
        response_header(response, "Access-Control-Max-Age", "600");
    }
}
