/* SPDX-License-Identifier: Apache-2.0 */
/*
 * We accept connections ourselves and hand them to libfcgi. Its own accept sets no time-outs, so a
 * peer that sends one byte and falls silent would hold a thread for ever; and it cannot be woken
 * for a stop without a signal that cuts answers short. FCGX_Accept_r() takes a connection that is
 * already in `ipcFd` and only reads the request from it; with no listener of its own it returns an
 * error, instead of accepting another, when that request is malformed.
 *
 * The web server runs with fastcgi_keep_conn, so that it notices an answer that is cut, but closes
 * after each request; so do we. An answer that cannot be completed is cut on purpose, by closing the
 * connection without the record that ends a request.
 */
#include "http/fcgi.h"

#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"

enum { NO_LISTENER = -1, READ_CHUNK = 16 * 1024 };

struct fcgi {
    FCGX_Request request;
    int64_t timeout_s;
};

bool fcgi_library_init(void)
{
    return FCGX_Init() == 0;
}

struct fcgi *fcgi_new(int64_t timeout_s)
{
    struct fcgi *fcgi = mem_zalloc(1, sizeof(*fcgi));
    fcgi->timeout_s = timeout_s;
    FCGX_InitRequest(&fcgi->request, NO_LISTENER, FCGI_FAIL_ACCEPT_ON_INTR);
    return fcgi;
}

void fcgi_free(struct fcgi *fcgi)
{
    if (fcgi) {
        FCGX_Free(&fcgi->request, 1);
        free(fcgi);
    }
}

enum fcgi_accept fcgi_accept(struct fcgi *fcgi, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        bool full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        return full ? FCGI_REFUSED : FCGI_NONE;
    }
    struct timeval limit = {.tv_sec = fcgi->timeout_s};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
        close(fd);
        return FCGI_REFUSED;
    }
    fcgi->request.ipcFd = fd;
    fcgi->request.keepConnection = 1; /* or it would close this as what is left of an earlier request */
    return FCGX_Accept_r(&fcgi->request) == 0 ? FCGI_ACCEPTED : FCGI_NONE;
}

const char *const *fcgi_environment(const struct fcgi *fcgi)
{
    return (const char *const *)fcgi->request.envp;
}

enum err fcgi_read_body(struct fcgi *fcgi, size_t max_bytes, struct buf *ret_body)
{
    char chunk[READ_CHUNK];
    bool too_large = false;
    buf_reset(ret_body);
    for (;;) {
        int n = FCGX_GetStr(chunk, sizeof(chunk), fcgi->request.in);
        if (n <= 0) {
            break;
        }
        too_large |= (size_t)n > max_bytes - ret_body->length;
        if (!too_large) {
            buf_append(ret_body, chunk, (size_t)n);
        }
        if (n < (int)sizeof(chunk)) {
            break;
        }
    }
    if (FCGX_GetError(fcgi->request.in) != 0) {
        return ERR_BAD_REQUEST;
    }
    return too_large || ret_body->overflow ? ERR_TOO_LARGE : ERR_OK;
}

static void put_header(FCGX_Stream *out, const char *name, const char *value)
{
    FCGX_PutS(name, out);
    FCGX_PutS(": ", out);
    FCGX_PutS(value, out);
    FCGX_PutS("\r\n", out);
}

static void put_head(struct fcgi *fcgi, const struct response *response, bool length_known)
{
    FCGX_Stream *out = fcgi->request.out;
    char number[32];
    snprintf(number, sizeof(number), "%d", response->status);
    put_header(out, "Status", number);
    if (response->content_type) {
        put_header(out, "Content-Type", response->content_type);
    }
    if (response->content_type && length_known) {
        snprintf(number, sizeof(number), "%zu", response->body->length);
        put_header(out, "Content-Length", number);
    }
    for (size_t i = 0; i < response->headers_count; i++) {
        put_header(out, response->headers[i].name, response->headers[i].value);
    }
    FCGX_PutS("\r\n", out);
}

void fcgi_write(struct fcgi *fcgi, const struct response *response, bool head_only)
{
    put_head(fcgi, response, true);
    if (response->content_type && !head_only) {
        FCGX_PutStr(buf_text(response->body), (int)response->body->length, fcgi->request.out);
    }
}

bool fcgi_start(struct fcgi *fcgi, const struct response *response, int64_t timeout_s)
{
    struct timeval limit = {.tv_sec = timeout_s};
    if (setsockopt(fcgi->request.ipcFd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
        return false;
    }
    put_head(fcgi, response, false);
    return FCGX_GetError(fcgi->request.out) == 0;
}

bool fcgi_put(struct fcgi *fcgi, const char *piece, size_t length)
{
    return FCGX_PutStr(piece, (int)length, fcgi->request.out) == (int)length;
}

bool fcgi_flush(struct fcgi *fcgi)
{
    return FCGX_FFlush(fcgi->request.out) == 0;
}

bool fcgi_peer_gone(const struct fcgi *fcgi)
{
    struct pollfd fd = {.fd = fcgi->request.ipcFd, .events = POLLRDHUP};
    return poll(&fd, 1, 0) > 0;
}

void fcgi_finish(struct fcgi *fcgi)
{
    FCGX_Detach(&fcgi->request); /* or closing would shut down, and wait until the web server closes too */
    FCGX_Finish_r(&fcgi->request);
    FCGX_Free(&fcgi->request, 1);
}

void fcgi_abort(struct fcgi *fcgi)
{
    FCGX_Free(&fcgi->request, 1);
}
