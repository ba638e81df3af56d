/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OAuth 2 for those who have a client for it: POST /token (RFC 6749), POST /oauth/revoke (RFC 7009), POST
 * /oauth/introspect (RFC 7662). Bodies are forms, and errors have the shape of RFC 6749 section 5.2.
 *
 * The grants are those that need no browser: `client_credentials` for services, `refresh_token`, and
 * `password` for our own login alone, which the setting `password_grant` switches off: it does what POST
 * /auth/login does. RFC 9700 section 2.4 warns of that grant, because it hands a password to a client. Here
 * the client is the first party, to which the password is said anyway.
 */
#ifndef TALLYGATE_IDENTITY_OAUTH_H
#define TALLYGATE_IDENTITY_OAUTH_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* POST /token: grant_type and what belongs to it. Outside the auth pool a `password` grant is handed on to
 * it.
 */
enum err oauth_token(struct request *request, struct response *response);
/* POST /oauth/revoke: token. A refresh token ends its session, an access token only itself. */
enum err oauth_revoke(struct request *request, struct response *response);
/* POST /oauth/introspect: token. For services only. */
enum err oauth_introspect(struct request *request, struct response *response);

#endif
