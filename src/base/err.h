/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one list of outcomes. Modules return an `enum err` and stay silent; the dispatcher, the job
 * runner or the command turns it into an HTTP answer, a log line or an exit code, once.
 */
#ifndef TALLYGATE_BASE_ERR_H
#define TALLYGATE_BASE_ERR_H

enum err {
    ERR_OK = 0,
    ERR_BAD_REQUEST,     /* the request cannot be understood (malformed JSON, broken encoding) */
    ERR_UNAUTHENTICATED, /* no valid credential */
    ERR_FORBIDDEN,       /* known, but not allowed */
    ERR_NOT_FOUND,       /* no such thing, or not visible to the caller */
    ERR_METHOD,          /* the path exists, not with this method */
    ERR_CONFLICT,        /* clashes with what is stored */
    ERR_TOO_LARGE,       /* over a limit on size */
    ERR_MEDIA_TYPE,      /* the body's type is not one that the route takes */
    ERR_MISDIRECTED,     /* sent to a pool that does not do this work: a proxy is set up wrongly */
    ERR_INVALID,         /* well-formed, but fails validation; fields are named */
    ERR_TOO_MANY,
    ERR_UNAVAILABLE, /* a dependency is away or a queue is full: try again */
    ERR_INTERNAL,    /* a fault of ours */
    ERR_COUNT
};

struct err_info {
    int status;         /* HTTP status code */
    const char *slug;   /* last part of the problem's `type`, as in /problems/not-found */
    const char *title;  /* RFC 9457 title: the same for every occurrence */
    const char *detail; /* said when nobody said anything more precise */
};

/* What `e` means over HTTP. Never NULL; an unknown value reads as ERR_INTERNAL. */
const struct err_info *err_info(enum err e);

#endif
