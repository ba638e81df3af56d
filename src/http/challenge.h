/* SPDX-License-Identifier: Apache-2.0 */
/* The 401 of a route that takes bearer tokens (RFC 6750 section 3). */
#ifndef TALLYGATE_HTTP_CHALLENGE_H
#define TALLYGATE_HTTP_CHALLENGE_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* Set WWW-Authenticate and the problem's words; returns ERR_UNAUTHENTICATED. `reason` says what is
 * wrong with the token, in ASCII without quotes; NULL when none was sent. */
enum err challenge_bearer(struct request *request, struct response *response, const char *reason);

/* The 403 of one whose token is good, but not for this (RFC 6750 section 3.1); returns ERR_FORBIDDEN. */
enum err challenge_scope(struct request *request, struct response *response, const char *detail);

#endif
