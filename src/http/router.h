/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The route table's shape, and finding a request's row in it. The table itself is data and stands
 * in fcgid/routes.c. Every path is also served below /api/v1.
 */
#ifndef TALLYGATE_HTTP_ROUTER_H
#define TALLYGATE_HTTP_ROUTER_H

#include <stddef.h>

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

enum pool { POOL_AUTH = 1, POOL_INGEST = 2, POOL_API = 4, POOL_ANY = POOL_AUTH | POOL_INGEST | POOL_API };

/* Who may call a route: bits. */
enum access {
    ACCESS_PUBLIC = 0,  /* anyone */
    ACCESS_USER = 1,    /* a person, with an access token */
    ACCESS_KEY = 8,     /* an API key, with the scopes that `needs` asks for */
    ACCESS_ADMIN = 4,   /* a person whose account is an administrator's */
    ACCESS_SERVICE = 2, /* a service, with an access token of its own, as bearer or in X-Service-Token */
};

/* Which limit counts a request (identity/ratelimit.h). */
enum rate {
    RATE_NONE,   /* that of the web server alone */
    RATE_LOGIN,  /* a few a minute, by where it comes from */
    RATE_CALLS,  /* by who asks */
    RATE_EVENTS, /* by who records */
};

enum {
    ROUTE_NO_STORE = 1, /* the answer carries a token or personal data: Cache-Control: no-store */
    ROUTE_ETAG = 2,     /* the client may keep the answer and ask whether it still holds (etag.h) */
    ROUTE_ONCE = 32,    /* it makes something, and takes an Idempotency-Key (identity/idempotency.h) */
    ROUTE_IN_PATH = 16, /* the workspace is that of {id} in the path, and not of X-Workspace */
    ROUTE_OAUTH = 8,    /* by RFC 6749: the body is a form, and errors have the shape of section 5.2 */
    ROUTE_ANY_FORM = 4, /* the body is events in any of their forms (see intake.h), not just JSON */
};

typedef enum err route_handler(struct request *request, struct response *response);

struct route {
    const char *method;
    /* Segments are literal or {name:type}; type is `int` (1 to 2^63-1) or `text` (1 to 255
     * characters). */
    const char *pattern;
    unsigned access; /* bits of enum access */
    enum rate rate;
    unsigned needs;        /* in the workspace: bits of enum permission; 0: it is about none */
    unsigned pools;        /* where the work may be done, as bits of enum pool */
    size_t body_max_bytes; /* 0: no body is read */
    unsigned flags;
    route_handler *handler;
};

struct router;

/* `routes` must outlive the router. Aborts on a pattern that is not well-formed: a fault of ours. */
struct router *router_new(const struct route *routes, size_t count);
void router_free(struct router *router);

/* Find the route; fills request->route and params. On ERR_METHOD (and for OPTIONS, where it
 * returns ERR_OK with request->route NULL) *ret_allow lists the methods that the path takes, in
 * the arena. */
enum err router_match(const struct router *router, struct request *request, const char **ret_allow);

#endif
