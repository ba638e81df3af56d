/* SPDX-License-Identifier: Apache-2.0 */
/* A request's way through the program, from the parameters to the answer. */
#ifndef TALLYGATE_FCGID_DISPATCH_H
#define TALLYGATE_FCGID_DISPATCH_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/gate.h"
#include "base/log.h"
#include "http/fcgi.h"
#include "http/request.h"
#include "http/response.h"
#include "http/router.h"

/* How an answer goes out in pieces. */
struct dispatch_stream {
    struct response_stream stream; /* first: what the response knows of */
    struct dispatcher *dispatcher;
};

/* One request under way, and the memory that one after the other uses. Threads come and go: between two calls
 * it belongs to none. */
struct dispatcher {
    /* Set by its owner: */
    const struct router *router; /* shared, read-only */
    enum pool pool;
    struct fcgi *fcgi;
    request_wake *wake; /* called when a request that waits can go on */
    void *wake_argument;

    struct arena arena;
    struct buf request_body;
    struct buf response_body;
    struct request request;
    struct response response;
    struct dispatch_stream stream;
    struct log_request line;
    int64_t started_us;
    int64_t waits_from_us; /* see trace_begin() */
    bool holds_large;      /* a place at services.large_bodies, or waits for one */
    struct gate_waiter place;
};

void dispatcher_init(struct dispatcher *dispatcher, const struct router *router, enum pool pool,
                     int64_t client_timeout_s);
void dispatcher_free(struct dispatcher *dispatcher);

/* Serve the request that fcgi_accept() took. True when it is answered. False when it waits for something:
 * then `wake` is called once, perhaps before this returns, and somebody must call dispatch_resume().
 * `services` are the calling thread's. */
bool dispatch_start(struct dispatcher *dispatcher, struct services *services);
/* Go on where it waited; returns as dispatch_start() does. */
bool dispatch_resume(struct dispatcher *dispatcher, struct services *services);

#endif
