/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FastCGI connection at a time, for one thread: take it from the listener, read the request,
 * write the answer, close. The only file that knows libfcgi.
 */
#ifndef TALLYGATE_HTTP_FCGI_H
#define TALLYGATE_HTTP_FCGI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "http/response.h"

struct fcgi;

enum fcgi_accept {
    FCGI_ACCEPTED, /* a request is there */
    FCGI_NONE,     /* nobody is waiting, or what came was no request */
    FCGI_REFUSED,  /* the kernel cannot give a descriptor now: pause */
};

/* Once a process, before any thread. False when libfcgi does not start. */
bool fcgi_library_init(void);

/* `timeout_s` bounds each read and write on a connection. */
struct fcgi *fcgi_new(int64_t timeout_s);
void fcgi_free(struct fcgi *fcgi);

/* Take the next connection of the non-blocking `listener` and read its parameters. */
enum fcgi_accept fcgi_accept(struct fcgi *fcgi, int listener);
/* The parameters, NAME=value and NULL at the end; they live until fcgi_finish(). */
const char *const *fcgi_environment(const struct fcgi *fcgi);
/* Read the whole body. Past `max_bytes` the rest is read and dropped (nginx takes no early answer
 * while it still sends) and the result is ERR_TOO_LARGE; a body that is cut is ERR_BAD_REQUEST. */
enum err fcgi_read_body(struct fcgi *fcgi, size_t max_bytes, struct buf *ret_body);
/* Write status, headers and, unless `head_only`, the body. */
void fcgi_write(struct fcgi *fcgi, const struct response *response, bool head_only);

/* An answer whose body goes out in pieces as it is made. Each function is false when nobody takes it any
 * more; a write waits for its reader up to `timeout_s`. */
bool fcgi_start(struct fcgi *fcgi, const struct response *response, int64_t timeout_s);
bool fcgi_put(struct fcgi *fcgi, const char *piece, size_t length);
bool fcgi_flush(struct fcgi *fcgi);
/* Whether the web server closed the connection, as it does when its client is gone. */
bool fcgi_peer_gone(const struct fcgi *fcgi);

/* End the request and close its connection. */
void fcgi_finish(struct fcgi *fcgi);
/* Close the connection in the middle of an answer, so that nobody takes what went out for the whole. */
void fcgi_abort(struct fcgi *fcgi);

#endif
