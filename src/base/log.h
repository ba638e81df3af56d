/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One JSON object a line on standard error. Each write(2) is of whole lines, so that those of several
 * threads and processes do not mix. All text is escaped; no input can forge a line. Passwords,
 * tokens and keys are never handed to these functions.
 */
#ifndef TALLYGATE_BASE_LOG_H
#define TALLYGATE_BASE_LOG_H

#include <stdbool.h>
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

/* From here on lines of requests may go out a tenth of a second later, many at once. Not before fork(): a
 * thread writes them. False when it cannot start. */
bool log_gather_start(void);
/* Write what has gathered, and gather no more. Without effect when nothing was started. */
void log_gather_stop(void);

/* The line that closes a request: its status and how long it took. */
void log_access(int status, int64_t duration_us);

#endif
