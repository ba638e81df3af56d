/* SPDX-License-Identifier: Apache-2.0 */
/*
 * We accept connections ourselves and hand them to libfcgi. Its own accept sets no time-outs, so a
 * peer that sends one byte and falls silent would hold a thread for ever; and it cannot be woken
 * for a stop without a signal that cuts answers short. FCGX_Accept_r() takes a connection that is
 * already in `ipcFd` and only reads the request from it; with no listener of its own it returns an
 * error, instead of accepting another, when that request is malformed.
 *
 * The web server runs with fastcgi_keep_conn, so that it notices an answer that is cut, but closes
 * after each request; so do we.
 */
#include "http/fcgi.h"

#include <errno.h>
#include <fcgiapp.h>
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

void fcgi_write(struct fcgi *fcgi, const struct response *response, bool head_only)
{
    FCGX_Stream *out = fcgi->request.out;
    char line[64];
    snprintf(line, sizeof(line), "Status: %d\r\n", response->status);
    FCGX_PutS(line, out);
    if (response->content_type) {
        FCGX_PutS("Content-Type: ", out);
        FCGX_PutS(response->content_type, out);
        snprintf(line, sizeof(line), "\r\nContent-Length: %zu\r\n", response->body->length);
        FCGX_PutS(line, out);
    }
    for (size_t i = 0; i < response->headers_count; i++) {
        FCGX_PutS(response->headers[i].name, out);
        FCGX_PutS(": ", out);
        FCGX_PutS(response->headers[i].value, out);
        FCGX_PutS("\r\n", out);
    }
    FCGX_PutS("\r\n", out);
    if (response->content_type && !head_only) {
        FCGX_PutStr(buf_text(response->body), (int)response->body->length, out);
    }
}

void fcgi_finish(struct fcgi *fcgi)
{
    FCGX_Finish_r(&fcgi->request);
    FCGX_Free(&fcgi->request, 1);
}
