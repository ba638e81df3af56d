/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object a line on standard error, written by a single write(2), so that lines of several
 * threads and processes do not mix. All text is escaped; no input can forge a line. Passwords,
 * tokens and keys are never handed to these functions.
 */
#ifndef TALLYGATE_BASE_LOG_H
#define TALLYGATE_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What a line says of the request it belongs to. Pointers may be NULL. */
struct log_request {
    const char *request_id;
    const char *trace_id;
    const char *method;
    const char *route; /* the route's pattern, never the raw path */
    int64_t user_id;   /* 0: nobody */
};

/* Set once, before threads start. `pool` may be NULL. */
void log_setup(const char *service, const char *pool, enum log_level level);
/* The request that this thread works on, or NULL; the structure must live until the next call. */
void log_set_request(const struct log_request *request);

/* Give back what this thread's lines were built in; the last call of a thread. */
void log_thread_end(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The line that closes a request: its status and how long it took. */
void log_access(int status, int64_t duration_us);

#endif
