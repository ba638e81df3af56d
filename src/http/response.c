/* SPDX-License-Identifier: Apache-2.0 */
#include "http/response.h"

#include <stdlib.h>

#include "base/json.h"

void response_init(struct response *response, struct arena *arena, struct buf *body)
{
    buf_reset(body);
    *response = (struct response){.arena = arena, .status = 500, .body = body};
}

void response_header(struct response *response, const char *name, const char *value)
{
    for (const char *c = value; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            return;
        }
    }
    if (response->headers_count == RESPONSE_HEADERS_MAX) {
        abort(); /* all callers are ours: raise the limit */
    }
    response->headers[response->headers_count++] =
        (struct response_header){.name = name, .value = arena_strdup(response->arena, value)};
}

void response_text(struct response *response, int status, const char *content_type, const char *text,
                   size_t length)
{
    buf_reset(response->body);
    buf_append(response->body, text, length);
    response->status = status;
    response->content_type = content_type;
}

void response_json(struct response *response, int status, struct json_object *object)
{
    size_t length;
    const char *text = json_text(object, &length);
    response_text(response, status, "application/json", text, length);
    buf_putc(response->body, '\n');
}

bool response_send(struct response *response, const char *piece, size_t length)
{
    return response->stream->send(response->stream, piece, length);
}

void response_empty(struct response *response, int status)
{
    buf_reset(response->body);
    response->status = status;
    response->content_type = NULL;
}

void response_pass_on(struct response *response, const char *location)
{
    response_header(response, "X-Accel-Redirect", location);
    response_empty(response, 200);
    response->passed_on = true;
}

void response_file(struct response *response, const char *content_type, const char *path)
{
    response_header(response, "X-Accel-Redirect", path);
    response_empty(response, 200);
    response->content_type = content_type;
}
