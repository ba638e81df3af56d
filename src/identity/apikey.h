/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API keys: how programs ask without logging in. A key belongs to a workspace and to the member who made it:
 * it can do what its scopes say, never more than that member may at the time, and ends with the membership.
 *
 * A key is `tg_live_` and 48 characters of base64url: 256 random bits, and 32 more which are an HMAC of these
 * under a key from the master secret. By those what we never made is refused without asking anybody. The rest
 * is in right.h.
 */
#ifndef TALLYGATE_IDENTITY_APIKEY_H
#define TALLYGATE_IDENTITY_APIKEY_H

#include <stdbool.h>

#include "base/config.h"
#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

#define APIKEY_PREFIX "tg_live_"

/* Whether a text was once given out as a key. */
bool apikey_is_ours(const struct config *config, const char *text);

/* GET /auth/api-keys?limit=…: of the workspace, to who manages it; else one's own there. */
enum err apikey_list(struct request *request, struct response *response);
/* POST /auth/api-keys: {name, scopes, expires_at?, per_second?, burst?}; the answer shows the key, once. */
enum err apikey_create(struct request *request, struct response *response);
/* DELETE /auth/api-keys/{id} */
enum err apikey_delete(struct request *request, struct response *response);

/* Drop some keys that expired a month ago. *ret_more: there may be others. */
enum err apikey_prune(struct pg *pg, bool *ret_more);

#endif
