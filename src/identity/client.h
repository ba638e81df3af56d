/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client of an OAuth 2 endpoint (RFC 6749 section 2.3): a service, which proves who it is with its id and
 * secret by HTTP Basic or in the body, or the first party. That is our own login under the client_id
 * `tallygate`, a public client: it has no secret, and may leave its id out.
 */
#ifndef TALLYGATE_IDENTITY_CLIENT_H
#define TALLYGATE_IDENTITY_CLIENT_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"
#include "http/validate.h"
#include "identity/service.h"

struct client {
    bool is_service;
    struct service service; /* of a service */
};

/* `id` and `secret` are client_id and client_secret of the body. ERR_UNAUTHENTICATED with the code
 * invalid_client, ERR_INVALID when it authenticates in two ways at once. */
enum err client_authenticate(struct request *request, struct response *response, const struct value *id,
                             const struct value *secret, struct client *ret_client);
/* Refuse a client that is none, or not one that may ask this; returns ERR_UNAUTHENTICATED. */
enum err client_refuse(struct request *request, struct response *response, const char *why);

#endif
