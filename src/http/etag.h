/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conditional GET (RFC 9110, section 13): an answer that the client has already is not sent again. It
 * may keep the answer, and must ask each time whether it still holds.
 */
#ifndef TALLYGATE_HTTP_ETAG_H
#define TALLYGATE_HTTP_ETAG_H

#include <stdbool.h>

#include "http/request.h"
#include "http/response.h"

/* Add ETag, Cache-Control and Vary to a 200, and make it a 304 without a body when If-None-Match says
 * that the client has it. */
void etag_apply(const struct request *request, struct response *response);

/* Whether the value of If-None-Match names `etag`, as in W/"abc" (section 13.1.2). What does not follow the
 * grammar names nothing from there on. */
bool etag_matches(const char *if_none_match, const char *etag);

#endif
