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

enum { TRACE_ID_SIZE = 33, TRACE_SPAN_SIZE = 17, TRACE_PARENT_SIZE = 56, TRACE_NAME_SIZE = 96 };

/* As in the protocol. */
enum trace_kind { TRACE_INTERNAL = 1, TRACE_SERVER = 2, TRACE_CLIENT = 3, TRACE_CONSUMER = 5 };

/* A span's place: its trace, itself, and what it is a part of. All lower-case hex. */
struct trace_place {
    char trace_id[TRACE_ID_SIZE];
    char span_id[TRACE_SPAN_SIZE];
    char parent_id[TRACE_SPAN_SIZE]; /* "": it begins the trace */
    bool sampled;
};

/* Of a request as a whole. Texts are copied, but for `route`, which must live for ever. */
struct trace_request {
    const char *method;
    const char *route; /* the pattern, or NULL */
    const char *request_id;
    int status;
    int64_t workspace_id; /* 0: none */
    int64_t duration_us;  /* until now */
};

/* Of an attempt of a job. */
struct trace_job {
    const char *type; /* must live for ever */
    int64_t id;
    int64_t attempts; /* with this one */
    int64_t began_us; /* monotonic */
    bool failed;
};

/* Of a webhook's call. */
struct trace_call {
    const char *webhook_id;
    int status;       /* 0: there was no answer */
    int64_t attempts; /* with this one */
    int64_t began_us; /* monotonic */
    bool failed;
};

/* Before there are threads. Both must live for ever. */
void trace_setup(const struct config *config, const char *pool);
/* Start and stop the thread that sends, after fork(). Without effect when tracing is off. */
bool trace_start(void);
void trace_stop(void);

/* Whether spans are sent at all. */
bool trace_is_on(void);
/* Make a new span: in the trace of `given`, a traceparent (W3C Trace Context, section 3.2), or when that is
 * NULL or none in a trace of its own. Whether it is sampled follows from the trace's id and the settings;
 * when tracing is off the caller's wish is just handed on. */
void trace_place_new(const char *given, struct trace_place *ret);
/* As a traceparent, for what is a part of it. */
void trace_place_format(const struct trace_place *place, char ret[TRACE_PARENT_SIZE]);
/* What this thread works on from now on, which must live as long as it is current; NULL: nothing. */
void trace_set_current(const struct trace_place *place);
const struct trace_place *trace_current(void);
/* When a piece of work begins (monotonic µs); 0 when nothing is to be told of it. */
int64_t trace_begin(void);
/* It is over: a child of what is current. Nothing for 0. */
void trace_end(enum trace_kind kind, const char *name, int64_t began_us, bool failed);
/* The same for the request, or the job, that is current. */
void trace_end_request(const struct trace_request *request);
void trace_end_job(const struct trace_job *job);
/* A call is over, whose place, in what it tells of, was handed on to the one who was called. */
void trace_end_call(const struct trace_place *place, const struct trace_call *call);

#endif
