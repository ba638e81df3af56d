/* SPDX-License-Identifier: Apache-2.0 */
/* A request's way through the program, from the parameters to the answer. */
#ifndef TALLYGATE_FCGID_DISPATCH_H
#define TALLYGATE_FCGID_DISPATCH_H

#include "base/arena.h"
#include "base/buf.h"
#include "http/fcgi.h"
#include "http/request.h"
#include "http/router.h"

/* What one request thread works with. */
struct dispatcher {
    const struct router *router; /* shared, read-only */
    enum pool pool;
    struct services services;
    struct fcgi *fcgi;
    struct arena arena;
    struct buf request_body;
    struct buf response_body;
    bool holds_large; /* a place at services.large_bodies */
};

/* Serve the request that fcgi_accept() took, and end it. */
void dispatch(struct dispatcher *dispatcher);

#endif
