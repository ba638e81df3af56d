/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TALLYGATE_HTTP_RESPONSE_H
#define TALLYGATE_HTTP_RESPONSE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

enum { RESPONSE_HEADERS_MAX = 24, RESPONSE_BODY_MAX = 16 * 1024 * 1024 };

struct response_header {
    const char *name;
    const char *value;
};

struct response_stream;

struct response {
    struct arena *arena;
    int status;
    const char *content_type; /* NULL: no body */
    struct response_header headers[RESPONSE_HEADERS_MAX];
    size_t headers_count;
    bool passed_on;   /* see response_pass_on() */
    struct buf *body; /* the thread's, emptied between requests */
    struct response_stream *stream;
};

/* How an answer goes out that is too large for memory. The dispatcher provides it. */
struct response_stream {
    bool (*send)(struct response_stream *stream, const char *piece, size_t length);
    bool started; /* the head is out: what goes wrong now can only cut the answer */
    bool broken;  /* nobody takes it any more */
};

void response_init(struct response *response, struct arena *arena, struct buf *body);
/* Add a header. `name` must be a literal; a value with a control character is refused silently, as
 * it can only come from someone who tries to split the answer. The value is copied. */
void response_header(struct response *response, const char *name, const char *value);
/* Answer with `text`, which must not lie in the body itself. `content_type` must be a literal. */
void response_text(struct response *response, int status, const char *content_type, const char *text,
                   size_t length);
/* Answer with the text of `object` and a newline; the caller keeps the object. */
void response_json(struct response *response, int status, struct json_object *object);
/* Send a piece of the body now. The first one, which may be empty, sends status and headers before it, so
 * these must be set; after it the handler's result only tells whether the answer is complete. A NULL piece
 * sends on what waits to be sent. False when nobody takes the answer any more: the handler should stop. */
bool response_send(struct response *response, const char *piece, size_t length);
/* Answer without a body. */
void response_empty(struct response *response, int status);

/* Let the web server send the request, with method and body, to another of its locations, whose answer the
 * client gets. `location` is the name of one that is not reached from outside: a literal that begins with @.
 */
void response_pass_on(struct response *response, const char *location);
/* Let the web server send a file, which it finds behind `path` of a location that is not reached from
 * outside. `content_type` must be a literal. */
void response_file(struct response *response, const char *content_type, const char *path);

#endif
