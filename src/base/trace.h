/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans of requests that are sampled, sent to a collector by OTLP/HTTP as JSON (OpenTelemetry protocol 1.x).
 * Off unless the settings name a collector.
 *
 * A span is copied into a ring of fixed size, and one thread of the process sends what is there. So nobody
 * waits for a collector: while it is slow or away the ring fills, and then spans are dropped and counted.
 *
 * Whether a request is sampled is decided once, by its trace id, so that all who have the same share decide
 * alike; a client's own wish counts only where the settings say so, as anybody could wish for everything.
 */
#ifndef TALLYGATE_BASE_TRACE_H
#define TALLYGATE_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"

enum { TRACE_ID_SIZE = 33, TRACE_SPAN_SIZE = 17, TRACE_NAME_SIZE = 96 };

/* As in the protocol. */
enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CLIENT = 3 };

/* What spans of a thread's work belong to. The texts are lower-case hex and live as long as it is current. */
struct trace_context {
    const char *trace_id;
    const char *span_id;
    bool sampled;
};

/* Of a request as a whole. Texts are copied, but for `route`, which must live for ever. */
struct trace_request {
    const char *parent_id; /* "": it begins the trace */
    const char *method;
    const char *route; /* the pattern, or NULL */
    const char *request_id;
    int status;
    int64_t workspace_id; /* 0: none */
    int64_t duration_us;  /* until now */
};

/* Before there are threads. Both must live for ever. */
void trace_setup(const struct config *config, const char *pool);
/* Start and stop the thread that sends, after fork(). Without effect when tracing is off. */
bool trace_start(void);
void trace_stop(void);

/* Whether a trace is sampled; `wished` is what the caller's traceparent says. When tracing is off that wish
 * is just handed on. */
bool trace_decide(const char *trace_id, bool wished);
/* What this thread works on from now on; NULL: nothing. */
void trace_set_current(const struct trace_context *context);
/* When a piece of work begins (monotonic µs); 0 when nothing is to be told of it. */
int64_t trace_begin(void);
/* It is over: a child of what is current. Nothing for 0. */
void trace_end(enum trace_kind kind, const char *name, int64_t began_us, bool failed);
/* The same for the request that is current. */
void trace_end_request(const struct trace_request *request);

#endif
