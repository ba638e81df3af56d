/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the checks is that of what they cost and of what they give away: is there such a
 * route (404, 405, and 422 for a parameter in its path), does this pool serve it (421), is the body of a kind
 * and size that it takes (415, 413), who asks (401), and only then the handler, which validates (400, 422)
 * and works.
 *
 * The body is read before anyone is refused: nginx takes an answer as broken that comes while it
 * still sends.
 *
 * A request may wait twice, and holds no thread then: for a place when its body is large, and for what its
 * handler prepared (request_wait()), which is the commit that it shares with others. So a few threads serve
 * hundreds of requests, and a batch of them is answered by one thread after the other instead of by as many
 * as there are: each thread that goes to sleep and wakes up costs more than what it does in between. Between
 * the two, whoever wakes the request hands it over, and nothing of it may be touched any more.
 */
#include "fcgid/dispatch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "analytics/event.h"
#include "analytics/intake.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/json.h"
#include "base/log.h"
#include "fcgid/routes.h"
#include "http/cors.h"
#include "http/etag.h"
#include "identity/bearer.h"
#include "identity/idempotency.h"
#include "identity/ratelimit.h"
#include "identity/user.h"
#include "identity/workspace.h"

enum {
    KEEP_BYTES = 64 * 1024,
    LARGE_BODY_BYTES = 256 * 1024,
    STREAM_TIMEOUT_S = 45,    /* longer than nginx's send_timeout, so that nginx is the one who gives up */
    STATUS_READER_GONE = 499, /* as nginx has it in its log; nobody gets it */
};

static enum err check_type(struct request *request, const char *expected)
{
    const char *type = request_variable(request, "CONTENT_TYPE");
    size_t length = type ? strcspn(type, "; \t") : 0;
    if (length != strlen(expected) || strncasecmp(type, expected, length) != 0) {
        return problem_say(&request->problem, ERR_MEDIA_TYPE, "Send the body with Content-Type: %s.",
                           expected);
    }
    return ERR_OK;
}

static enum err check_media_type(struct request *request)
{
    bool oauth = request->route->flags & ROUTE_OAUTH;
    enum err e = request->route->flags & ROUTE_ANY_FORM
                     ? intake_check_media_type(request)
                     : check_type(request, oauth ? "application/x-www-form-urlencoded" : "application/json");
    const char *encoding = request_variable(request, "HTTP_CONTENT_ENCODING");
    if (!e && encoding && strcasecmp(encoding, "identity") != 0) {
        return problem_say(&request->problem, ERR_MEDIA_TYPE, "Send the body without Content-Encoding.");
    }
    return e;
}

/* A large body takes some three times its size in memory until it is answered. */
static bool is_large(const struct request *request)
{
    const char *length = request_variable(request, "CONTENT_LENGTH");
    return request->services->large_bodies && request->route && request->route->body_max_bytes && length &&
           strtoll(length, NULL, 10) > LARGE_BODY_BYTES;
}

static enum err take_body(struct dispatcher *dispatcher)
{
    struct request *request = &dispatcher->request;
    size_t max_bytes = request->route ? request->route->body_max_bytes : 0;
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

/* `found` is what the router said. */
static enum err serve(struct dispatcher *dispatcher, enum err found, const char *allow)
{
    struct request *request = &dispatcher->request;
    struct response *response = &dispatcher->response;
    enum err body = take_body(dispatcher);
    if (found == ERR_METHOD) {
        response_header(response, "Allow", allow);
        return problem_say(&request->problem, found, "This path takes %s.", allow);
    }
    if (!found && !request->route) {
        cors_preflight(request, response, allow);
        return ERR_OK;
    }
    if (found) {
        return found;
    }
    const struct route *route = request->route;
    if (!(route->pools & dispatcher->pool)) {
        return ERR_MISDIRECTED;
    }
    if (body) {
        return body;
    }
    enum err e = route->access == ACCESS_PUBLIC ? ERR_OK : bearer_authenticate(request, response);
    e = e ? e : ratelimit_apply(request, response); /* before anything that asks the database */
    if (!e && (route->access & ACCESS_ADMIN) && request->principal.kind == PRINCIPAL_USER) {
        e = user_check_admin(request, response);
    }
    if (!e && route->needs) {
        e = route->flags & ROUTE_IN_PATH ? workspace_enter_path(request, response)
                                         : workspace_enter(request, response);
    }
    if (e) {
        return e;
    }
    return route->flags & ROUTE_ONCE ? idempotency_run(request, response, route->handler)
                                     : route->handler(request, response);
}

static void answer_problem(struct request *request, struct response *response, enum err e)
{
    int status = err_info(e)->status;
    bool oauth = request->route && (request->route->flags & ROUTE_OAUTH);
    JSON_AUTO problem = oauth ? problem_oauth_json(&request->problem, e, request->request_id, &status)
                              : problem_json(&request->problem, e, request->request_id);
    response_json(response, status, problem);
    response->content_type = oauth ? "application/json" : "application/problem+json";
    if (e == ERR_UNAVAILABLE || e == ERR_TOO_MANY) {
        int64_t wait_s = request->problem.retry_after_s > 0 ? request->problem.retry_after_s : 1;
        response_header(response, "Retry-After", arena_printf(request->arena, "%lld", (long long)wait_s));
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
    if (flags & ROUTE_OAUTH) {
        response_header(response, "Pragma", "no-cache"); /* RFC 6749 section 5.1 asks for both */
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

static bool send_piece(struct response_stream *stream, const char *piece, size_t length)
{
    struct dispatcher *dispatcher = ((struct dispatch_stream *)stream)->dispatcher;
    struct fcgi *fcgi = dispatcher->fcgi;
    bool ok = !stream->broken;
    if (ok && piece && !stream->started) {
        add_headers(&dispatcher->request, &dispatcher->response, ERR_OK);
        stream->started = true;
        ok = fcgi_start(fcgi, &dispatcher->response, STREAM_TIMEOUT_S);
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
static int end_stream(struct dispatcher *dispatcher, enum err e)
{
    if (!e && !dispatcher->stream.stream.broken) {
        fcgi_finish(dispatcher->fcgi);
        return dispatcher->response.status;
    }
    fcgi_abort(dispatcher->fcgi);
    log_warn("the answer was cut: %s", e ? err_info(e)->title : "its reader is gone or takes too long");
    return e ? err_info(e)->status : STATUS_READER_GONE;
}

/* ---- one request ---- */

/* Returns the status for the log. */
static int answer(struct dispatcher *dispatcher, enum err e)
{
    struct request *request = &dispatcher->request;
    struct response *response = &dispatcher->response;
    if (!e && response->body->overflow) {
        e = ERR_INTERNAL;
        log_error("the answer is larger than %d bytes", RESPONSE_BODY_MAX);
    }
    if (e) {
        answer_problem(request, response, e);
    }
    if (!response->passed_on) { /* nginx would add some of these to the other answer's */
        add_headers(request, response, e);
    }
    fcgi_write(dispatcher->fcgi, response, strcmp(request->method, "HEAD") == 0);
    fcgi_finish(dispatcher->fcgi);
    return response->status;
}

/* What this thread says and measures is of this request from now on, and no more. */
static void turn_to(struct dispatcher *dispatcher)
{
    log_set_request(&dispatcher->line);
    trace_set_current(&dispatcher->request.trace);
}

static void turn_from(void)
{
    log_set_request(NULL);
    trace_set_current(NULL);
}

/* Answer, and be ready for the next request. */
static void end(struct dispatcher *dispatcher, enum err e)
{
    const struct response_stream *stream = &dispatcher->stream.stream;
    struct services *services = dispatcher->request.services;
    bool in_pieces = stream->started || stream->broken;
    dispatcher->line.user_id = dispatcher->request.principal.user_id;
    int status = in_pieces ? end_stream(dispatcher, e) : answer(dispatcher, e);

    int64_t duration_us = clock_monotonic_us() - dispatcher->started_us;
    const struct route *route = dispatcher->request.route;
    metrics_count_request(services->metrics, route ? route - ROUTES : -1, status, duration_us);
    atomic_fetch_sub_explicit(&metrics_seat()->requests, 1, memory_order_relaxed);
    log_access(status, duration_us);
    const struct request *request = &dispatcher->request;
    const struct trace_request traced = {.method = request->method,
                                         .route = route ? route->pattern : NULL,
                                         .request_id = request->request_id,
                                         .status = status,
                                         .workspace_id = request->principal.workspace_id,
                                         .duration_us = duration_us};
    trace_end_request(&traced);
    turn_from();
    buf_trim(&dispatcher->request_body, KEEP_BYTES);
    buf_trim(&dispatcher->response_body, KEEP_BYTES);
    arena_reset(&dispatcher->arena);
    if (dispatcher->holds_large) {
        dispatcher->holds_large = false;
        gate_leave(services->large_bodies);
    }
}

/* `found` and `allow` are what the router said. */
static bool serve_and_end(struct dispatcher *dispatcher, enum err found, const char *allow)
{
    const struct request_wait *wait = &dispatcher->request.wait;
    enum err e = serve(dispatcher, found, allow);
    if (!e && wait->start) {
        dispatcher->waits_from_us = trace_begin();
        turn_from();
        wait->start(wait->state, dispatcher->wake, dispatcher->wake_argument);
        return false;
    }
    end(dispatcher, e);
    return true;
}

/* When it waits, it may be somebody else's already. */
static enum gate_answer enter_large(struct dispatcher *dispatcher)
{
    const struct services *services = dispatcher->request.services;
    dispatcher->holds_large = true;
    dispatcher->place =
        (struct gate_waiter){.deadline_us = dispatcher->started_us + services->config->ingest_wait_ms * 1000,
                             .wake = dispatcher->wake,
                             .argument = dispatcher->wake_argument};
    return gate_enter(services->large_bodies, &dispatcher->place);
}

/* There was no place for its body in time. */
static void turn_away(struct dispatcher *dispatcher)
{
    struct request *request = &dispatcher->request;
    dispatcher->holds_large = false;
    (void)fcgi_read_body(dispatcher->fcgi, 0, &dispatcher->request_body);
    end(dispatcher,
        problem_say(&request->problem, ERR_UNAVAILABLE, "Too many large bodies at once. Send it again."));
}

bool dispatch_start(struct dispatcher *dispatcher, struct services *services)
{
    struct request *request = &dispatcher->request;
    dispatcher->started_us = clock_monotonic_us();
    atomic_fetch_add_explicit(&metrics_seat()->requests, 1, memory_order_relaxed);
    request_init(request, &dispatcher->arena, services, fcgi_environment(dispatcher->fcgi));
    response_init(&dispatcher->response, &dispatcher->arena, &dispatcher->response_body);
    dispatcher->stream = (struct dispatch_stream){.stream.send = send_piece, .dispatcher = dispatcher};
    dispatcher->response.stream = &dispatcher->stream.stream;
    dispatcher->line = (struct log_request){.request_id = request->request_id,
                                            .trace_id = request->trace.trace_id,
                                            .method = request->method,
                                            .route = "none"};
    const char *allow = NULL;
    enum err found = router_match(dispatcher->router, request, &allow);
    if (request->route) {
        dispatcher->line.route = request->route->pattern;
    }
    enum gate_answer large = !found && is_large(request) ? enter_large(dispatcher) : GATE_ENTERED;
    if (large == GATE_WAITS) {
        return false;
    }
    turn_to(dispatcher);
    if (large == GATE_FULL) {
        turn_away(dispatcher);
        return true;
    }
    return serve_and_end(dispatcher, found, allow);
}

bool dispatch_resume(struct dispatcher *dispatcher, struct services *services)
{
    struct request *request = &dispatcher->request;
    request->services = services;
    turn_to(dispatcher);
    if (request->wait.start) {
        trace_end(TRACE_INTERNAL, "wait for the commit", dispatcher->waits_from_us, false);
        end(dispatcher, request->wait.finish(request, &dispatcher->response, request->wait.state));
        return true;
    }
    if (dispatcher->place.entered) {
        return serve_and_end(dispatcher, ERR_OK, NULL);
    }
    turn_away(dispatcher);
    return true;
}

void dispatcher_init(struct dispatcher *dispatcher, const struct router *router, enum pool pool,
                     int64_t client_timeout_s)
{
    *dispatcher = (struct dispatcher){.router = router, .pool = pool, .fcgi = fcgi_new(client_timeout_s)};
    buf_init(&dispatcher->request_body, EVENT_BATCH_BODY_MAX);
    buf_init(&dispatcher->response_body, RESPONSE_BODY_MAX);
}

void dispatcher_free(struct dispatcher *dispatcher)
{
    fcgi_free(dispatcher->fcgi);
    buf_free(&dispatcher->request_body);
    buf_free(&dispatcher->response_body);
    arena_free(&dispatcher->arena);
}
