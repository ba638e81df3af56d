/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

static const struct err_info TABLE[ERR_COUNT] = {
    [ERR_OK] = {200, "ok", "OK", "Done."},
    [ERR_BAD_REQUEST] = {400, "bad-request", "Bad Request", "The request could not be understood."},
    [ERR_UNAUTHENTICATED] = {401, "unauthorized", "Unauthorized", "A valid access token is needed."},
    [ERR_FORBIDDEN] = {403, "forbidden", "Forbidden", "You are not allowed to do this."},
    [ERR_NOT_FOUND] = {404, "not-found", "Not Found", "There is nothing here."},
    [ERR_METHOD] = {405, "method-not-allowed", "Method Not Allowed", "See the Allow header."},
    [ERR_CONFLICT] = {409, "conflict", "Conflict", "This clashes with what is stored."},
    [ERR_TOO_LARGE] = {413, "payload-too-large", "Payload Too Large", "The request is too large."},
    [ERR_MEDIA_TYPE] = {415, "unsupported-media-type", "Unsupported Media Type",
                        "Send the body as application/json."},
    [ERR_MISDIRECTED] = {421, "misdirected-request", "Misdirected Request",
                         "This pool does not serve the route; check the proxy's locations."},
    [ERR_INVALID] = {422, "validation", "Unprocessable Content", "Some fields are not valid."},
    [ERR_UNAVAILABLE] = {503, "unavailable", "Service Unavailable",
                         "Something this needs is away. Try again shortly."},
    [ERR_INTERNAL] = {500, "internal", "Internal Server Error", "An unexpected fault; it was logged."},
};

const struct err_info *err_info(enum err e)
{
    unsigned index = (unsigned)e;
    return &TABLE[index < ERR_COUNT ? index : ERR_INTERNAL];
}
