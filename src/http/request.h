/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request as handlers see it, and what its thread lends them. Everything in it lives in
 * the request's arena and goes when the answer is written.
 */
#ifndef TALLYGATE_HTTP_REQUEST_H
#define TALLYGATE_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/crypto.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "http/problem.h"
#include "store/pg.h"
#include "store/redis.h"

struct cache;
struct gate;
struct route;
struct ingest;
struct keyring;
struct password_hasher;
struct ratelimit;
struct revocations;
struct token_cache;

/* What a request thread lends to the request that it serves. The pointers never change; those marked shared
 * serve all threads of the worker. */
struct services {
    const struct config *config; /* shared, read-only */
    struct metrics *metrics;     /* shared */
    struct pg *pg;               /* in the ingest pool only for rights that are not remembered */
    struct redis *redis;
    struct password_hasher *hasher;  /* NULL outside the auth pool */
    struct keyring *keyring;         /* shared */
    struct revocations *revocations; /* shared */
    struct token_cache *token_cache; /* shared */
    struct cache *cache;             /* shared; NULL outside the api pool */
    struct cache *rights;            /* shared; see identity/right.h */
    struct ratelimit *ratelimit;     /* shared */
    struct ingest *ingest;           /* shared; NULL outside the ingest pool */
    struct gate *large_bodies;       /* shared; NULL outside the ingest pool */
};

/* PRINCIPAL_SHELL: tallygatectl. It may all, and `user_id` is whom it acts for where a route is about
 * oneself. */
enum principal_kind { PRINCIPAL_NOBODY, PRINCIPAL_USER, PRINCIPAL_SERVICE, PRINCIPAL_KEY, PRINCIPAL_SHELL };

/* Who asks, as the access token or the key says. */
struct principal {
    enum principal_kind kind;
    int64_t user_id;      /* of a key, who made it; 0: no account */
    int64_t workspace_id; /* 0: none */
    uint8_t grant_id[16]; /* the session or service that the token was given to, and ends with; or the key */
    uint8_t token_id[16]; /* the token's own id (jti) */
    unsigned may;         /* in that workspace: bits of enum permission (identity/role.h) */
    const char *slug;     /* of a key: the workspace's, or "" */
    int64_t per_second;   /* a key's own limit of requests that record; 0: the usual one */
    int64_t burst;
};

enum { REQUEST_PARAMS_MAX = 4, REQUEST_QUERY_MAX = 32, REQUEST_ID_MAX = 128 };

struct request_param {
    const char *name;
    const char *text; /* decoded, valid UTF-8 without NUL */
    size_t length;
};

struct request;
struct response;

typedef void request_wake(void *argument);

/* What a request waits for without a thread: see request_wait(). */
struct request_wait {
    void (*start)(void *state, request_wake *wake, void *argument);
    enum err (*finish)(struct request *request, struct response *response, void *state);
    void *state;
};

struct request {
    struct arena *arena;
    struct services *services; /* of the thread that serves it now */
    struct problem problem;
    const char *const *environment; /* FastCGI parameters, NAME=value */

    const char *method;
    const char *path;  /* raw, without the query */
    const char *query; /* raw, "" when there is none */
    const char *request_id;
    struct trace_place trace; /* a part of the caller's trace, or of a new one */
    char traceparent[TRACE_PARENT_SIZE];

    const struct route *route;
    struct request_param params[REQUEST_PARAMS_MAX];
    size_t params_count;
    struct request_param query_params[REQUEST_QUERY_MAX];
    size_t query_count;

    const char *body; /* ends in NUL, which is not counted */
    size_t body_length;

    struct principal principal;
    struct request_wait wait;
};

/* To be returned by a handler that has prepared work for others to do, as its last act. Then `start` is
 * called, and calls `wake(argument)` once when the work is done, from any thread, perhaps before it returns.
 * After that some thread calls `finish`, whose result counts as the handler's. `state` lives in the arena. */
enum err request_wait(struct request *request, const struct request_wait *wait);

/* Fill in method, path, ids and trace from the FastCGI parameters. The rest stays zero. */
void request_init(struct request *request, struct arena *arena, struct services *services,
                  const char *const *environment);
/* The network that an address belongs to, as far as one customer has it: an IPv4 address, or the first 64
 * bits of an IPv6 one. */
const char *request_network(struct arena *arena, const char *address);
/* A FastCGI parameter, as in CONTENT_TYPE or HTTP_ORIGIN; NULL when there is none or it is empty. */
const char *request_variable(const struct request *request, const char *name);
/* A path parameter of the matched route. */
const char *request_param(const struct request *request, const char *name);
int64_t request_param_int(const struct request *request, const char *name);
/* Cut and decode the query string, or a body that is application/x-www-form-urlencoded, into query_params.
 */
enum err request_parse_query(struct request *request);
enum err request_parse_form(struct request *request);
/* Decode %XX (and `+` as a space when `plus`). NULL for broken escapes, broken UTF-8 or NUL. */
const char *request_decode(struct arena *arena, const char *text, size_t length, bool plus,
                           size_t *ret_length);

#endif
