/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cross-origin requests (Fetch standard, "CORS protocol"). Origins come from the setting
 * cors_origins; none are allowed by default. Preflights are answered here and nowhere else: nginx
 * passes OPTIONS through. Credentials mode is not used, as the API takes bearer tokens.
 */
#ifndef TALLYGATE_HTTP_CORS_H
#define TALLYGATE_HTTP_CORS_H

#include "http/request.h"
#include "http/response.h"

/* Add the headers that let the request's origin read the answer, when it is on the list. */
void cors_headers(const struct request *request, struct response *response);
/* Answer OPTIONS for a path that takes the methods in `allow`. */
void cors_preflight(const struct request *request, struct response *response, const char *allow);

#endif
