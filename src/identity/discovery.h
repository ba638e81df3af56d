/* SPDX-License-Identifier: Apache-2.0 */
/* What other programs must know to take part: where the endpoints are, and the keys that tokens are signed
 * with. */
#ifndef TALLYGATE_IDENTITY_DISCOVERY_H
#define TALLYGATE_IDENTITY_DISCOVERY_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /.well-known/oauth-authorization-server: the metadata of RFC 8414. */
enum err discovery_metadata(struct request *request, struct response *response);
/* GET /.well-known/jwks.json: a JWK Set (RFC 7517) of all keys that verify now or soon sign, the latest
 * first. It may be kept for five minutes, so a key must be published for longer than that before it signs. */
enum err discovery_jwks(struct request *request, struct response *response);

#endif
