/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

/* Titles of problems that nginx tells as well are the same in nginx/tallygate-http.conf.in. */
static const struct err_info TABLE[ERR_COUNT] = {
    [ERR_OK] = {200, "ok", "OK", "Done."},
    [ERR_BAD_REQUEST] = {400, "bad-request", "Bad request", "The request could not be understood."},
    [ERR_UNAUTHENTICATED] = {401, "unauthorized", "Not authenticated", "A valid access token is needed."},
    [ERR_FORBIDDEN] = {403, "forbidden", "Forbidden", "You are not allowed to do this."},
    [ERR_NOT_FOUND] = {404, "not-found", "Not found", "There is nothing here."},
    [ERR_METHOD] = {405, "method-not-allowed", "Method not allowed", "See the Allow header."},
    [ERR_CONFLICT] = {409, "conflict", "Conflict", "This clashes with what is stored."},
    [ERR_TOO_LARGE] = {413, "payload-too-large", "Payload too large", "The request is too large."},
    [ERR_MEDIA_TYPE] = {415, "unsupported-media-type", "Unsupported media type",
                        "Send the body as application/json."},
    [ERR_MISDIRECTED] = {421, "misdirected-request", "Misdirected request",
                         "This pool does not serve the route; check the proxy's locations."},
    [ERR_INVALID] = {422, "validation", "Not valid", "Some fields are not valid."},
    [ERR_TOO_MANY] = {429, "too-many-requests", "Too many requests", "Wait for as long as Retry-After says."},
    [ERR_UNAVAILABLE] = {503, "unavailable", "Service unavailable",
                         "Something this needs is away. Try again shortly."},
    [ERR_INTERNAL] = {500, "internal", "Internal error", "An unexpected fault; it was logged."},
};

const struct err_info *err_info(enum err e)
{
    unsigned index = (unsigned)e;
    return &TABLE[index < ERR_COUNT ? index : ERR_INTERNAL];
}
