/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks: the bearer token of a request (RFC 6750), checked without a database round trip. */
#ifndef TALLYGATE_IDENTITY_BEARER_H
#define TALLYGATE_IDENTITY_BEARER_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* Fill request->principal. ERR_UNAUTHENTICATED also sets WWW-Authenticate on the answer;
 * ERR_UNAVAILABLE while the keys or the revocations are not known. */
enum err bearer_authenticate(struct request *request, struct response *response);

#endif
