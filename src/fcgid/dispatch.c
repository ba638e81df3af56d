/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the checks is that of what they cost and of what they give away: is there such a
 * route (404, 405, and 422 for a parameter in its path), does this pool serve it (421), is the body of a kind
 * and size that it takes (415, 413), who asks (401), and only then the handler, which validates (400, 422)
 * and works.
 *
 * The body is read before anyone is refused: nginx takes an answer as broken that comes while it
 * still sends.
 */
#include "fcgid/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "analytics/intake.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/json.h"
#include "base/log.h"
#include "http/cors.h"
#include "http/etag.h"
#include "identity/bearer.h"

enum {
    KEEP_BYTES = 64 * 1024,
    LARGE_BODY_BYTES = 256 * 1024,
    STREAM_TIMEOUT_S = 45,    /* longer than nginx's send_timeout, so that nginx is the one who gives up */
    STATUS_READER_GONE = 499, /* as nginx has it in its log; nobody gets it */
};

static enum err check_json(struct request *request)
{
    static const char JSON[] = "application/json";
    const char *type = request_variable(request, "CONTENT_TYPE");
    size_t length = type ? strcspn(type, "; \t") : 0;
    if (length != sizeof(JSON) - 1 || strncasecmp(type, JSON, length) != 0) {
        return problem_say(&request->problem, ERR_MEDIA_TYPE,
                           "Send the body with Content-Type: application/json.");
    }
    return ERR_OK;
}

static enum err check_media_type(struct request *request)
{
    bool any_form = request->route->flags & ROUTE_ANY_FORM;
    enum err e = any_form ? intake_check_media_type(request) : check_json(request);
    const char *encoding = request_variable(request, "HTTP_CONTENT_ENCODING");
    if (!e && encoding && strcasecmp(encoding, "identity") != 0) {
        return problem_say(&request->problem, ERR_MEDIA_TYPE, "Send the body without Content-Encoding.");
    }
    return e;
}

/* A large body takes some three times its size in memory until it is answered. */
static bool enter_large(struct dispatcher *dispatcher, struct request *request)
{
    const struct services *services = &dispatcher->services;
    const char *length = request_variable(request, "CONTENT_LENGTH");
    bool large = services->large_bodies && length && strtoll(length, NULL, 10) > LARGE_BODY_BYTES;
    if (!large) {
        return true;
    }
    int64_t deadline_us = clock_monotonic_us() + services->config->ingest_wait_ms * 1000;
    dispatcher->holds_large = gate_enter(services->large_bodies, deadline_us);
    return dispatcher->holds_large;
}

static enum err take_body(struct dispatcher *dispatcher, struct request *request)
{
    size_t max_bytes = request->route ? request->route->body_max_bytes : 0;
    if (max_bytes && !enter_large(dispatcher, request)) {
        (void)fcgi_read_body(dispatcher->fcgi, 0, &dispatcher->request_body);
        return problem_say(&request->problem, ERR_UNAVAILABLE,
                           "Too many large bodies at once. Send it again.");
    }
    enum err e = fcgi_read_body(dispatcher->fcgi, max_bytes, &dispatcher->request_body);
    if (e == ERR_TOO_LARGE && max_bytes == 0) {
        return ERR_OK; /* a body where none is expected is read and ignored */
    }
    if (e == ERR_TOO_LARGE) {
        return problem_say(&request->problem, e, "The body may have at most %zu bytes here.", max_bytes);
    }
    if (e) {
        return problem_say(&request->problem, e, "The body ended before it was complete.");
    }
    request->body = buf_text(&dispatcher->request_body);
    request->body_length = dispatcher->request_body.length;
    return max_bytes ? check_media_type(request) : ERR_OK;
}

static enum err serve(struct dispatcher *dispatcher, struct request *request, struct response *response)
{
    const char *allow = NULL;
    enum err e = router_match(dispatcher->router, request, &allow);
    enum err body = take_body(dispatcher, request);
    if (e == ERR_METHOD) {
        response_header(response, "Allow", allow);
        return problem_say(&request->problem, e, "This path takes %s.", allow);
    }
    if (!e && !request->route) {
        cors_preflight(request, response, allow);
        return ERR_OK;
    }
    if (e) {
        return e;
    }
    const struct route *route = request->route;
    if (!(route->pools & dispatcher->pool)) {
        return ERR_MISDIRECTED;
    }
    if (body) {
        return body;
    }
    if (route->access == ACCESS_USER) {
        e = bearer_authenticate(request, response);
        if (e) {
            return e;
        }
    }
    return route->handler(request, response);
}

static void answer_problem(struct request *request, struct response *response, enum err e)
{
    JSON_AUTO problem = problem_json(&request->problem, e, request->request_id);
    response_json(response, err_info(e)->status, problem);
    response->content_type = "application/problem+json";
    if (e == ERR_UNAVAILABLE) {
        response_header(response, "Retry-After", "1");
    }
}

/* Say who may keep the answer. */
static void mark_storable(const struct request *request, struct response *response, enum err e)
{
    unsigned flags = request->route ? request->route->flags : 0;
    if (!e && response->status == 200 && (flags & ROUTE_ETAG)) {
        etag_apply(request, response);
    } else if (e || (flags & (ROUTE_NO_STORE | ROUTE_ETAG))) {
        response_header(response, "Cache-Control", "no-store");
    }
}

/* What is the same for all answers. */
static void add_headers(const struct request *request, struct response *response, enum err e)
{
    cors_headers(request, response);
    response_header(response, "traceparent", request->traceparent);
    mark_storable(request, response, e);
}

/* ---- answers in pieces ---- */

struct streaming {
    struct response_stream stream; /* first: what the response knows of */
    struct fcgi *fcgi;
    const struct request *request;
    struct response *response;
};

static bool send_piece(struct response_stream *stream, const char *piece, size_t length)
{
    struct streaming *streaming = (struct streaming *)stream;
    struct fcgi *fcgi = streaming->fcgi;
    bool ok = !stream->broken;
    if (ok && piece && !stream->started) {
        add_headers(streaming->request, streaming->response, ERR_OK);
        stream->started = true;
        ok = fcgi_start(fcgi, streaming->response, STREAM_TIMEOUT_S);
    }
    if (ok && piece) {
        ok = length == 0 || fcgi_put(fcgi, piece, length);
    } else if (ok) {
        ok = !fcgi_peer_gone(fcgi) && fcgi_flush(fcgi);
    }
    stream->broken = !ok;
    return ok;
}

/* Returns the status for the log. The client got a 200 and then a broken transfer. */
static int end_stream(const struct streaming *streaming, enum err e)
{
    if (!e && !streaming->stream.broken) {
        fcgi_finish(streaming->fcgi);
        return streaming->response->status;
    }
    fcgi_abort(streaming->fcgi);
    log_warn("the answer was cut: %s", e ? err_info(e)->title : "its reader is gone or takes too long");
    return e ? err_info(e)->status : STATUS_READER_GONE;
}

/* ---- one request ---- */

static void count(struct metrics *metrics, int status)
{
    int class = status / 100;
    atomic_fetch_add_explicit(&metrics->requests_total[class >= 1 && class <= 5 ? class : 0], 1,
                              memory_order_relaxed);
}

/* Returns the status for the log. */
static int answer(struct dispatcher *dispatcher, struct request *request, struct response *response,
                  enum err e)
{
    if (!e && response->body->overflow) {
        e = ERR_INTERNAL;
        log_error("the answer is larger than %d bytes", RESPONSE_BODY_MAX);
    }
    if (e) {
        answer_problem(request, response, e);
    }
    add_headers(request, response, e);
    fcgi_write(dispatcher->fcgi, response, strcmp(request->method, "HEAD") == 0);
    fcgi_finish(dispatcher->fcgi);
    return response->status;
}

void dispatch(struct dispatcher *dispatcher)
{
    struct request request;
    struct response response;
    struct streaming streaming = {
        .stream.send = send_piece, .fcgi = dispatcher->fcgi, .request = &request, .response = &response};
    struct metrics *metrics = dispatcher->services.metrics;
    int64_t started_us = clock_monotonic_us();

    request_init(&request, &dispatcher->arena, &dispatcher->services, fcgi_environment(dispatcher->fcgi));
    response_init(&response, &dispatcher->arena, &dispatcher->response_body);
    response.stream = &streaming.stream;
    struct log_request line = {.request_id = request.request_id,
                               .trace_id = request.trace_id,
                               .method = request.method,
                               .route = "none"};
    log_set_request(&line);

    enum err e = serve(dispatcher, &request, &response);
    if (request.route) {
        line.route = request.route->pattern;
    }
    line.user_id = request.principal.user_id;
    bool in_pieces = streaming.stream.started || streaming.stream.broken;
    int status = in_pieces ? end_stream(&streaming, e) : answer(dispatcher, &request, &response, e);

    count(metrics, status);
    log_access(status, clock_monotonic_us() - started_us);
    log_set_request(NULL);
    buf_trim(&dispatcher->request_body, KEEP_BYTES);
    buf_trim(&dispatcher->response_body, KEEP_BYTES);
    arena_reset(&dispatcher->arena);
    if (dispatcher->holds_large) {
        gate_leave(dispatcher->services.large_bodies);
        dispatcher->holds_large = false;
    }
}
