/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts: made by registration together with a personal workspace, looked at and changed by
 * their owner, deleted by the owner or an administrator.
 *
 * What deletion means: the account, its sessions and its memberships go at once, in one
 * transaction. Its personal workspace is closed in the same transaction: from then on nothing
 * is written to it, and within a second, when every worker knows of the revocations, nothing read.
 * The workspace's events, ids and rollups are erased afterwards in small pieces
 * (account_purge_closed), as a single DELETE of millions of rows would hold the request and the table.
 */
#ifndef TALLYGATE_IDENTITY_ACCOUNT_H
#define TALLYGATE_IDENTITY_ACCOUNT_H

#include <stdint.h>

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"
#include "http/validate.h"

enum { ACCOUNT_USERNAME_MAX = 64, ACCOUNT_FULL_NAME_MAX = 200 }; /* characters */

/* Make an account as POST /auth/register does, but log nobody in; answers what GET /users/{id} would. For
 * tallygatectl. */
enum err account_add(struct request *request, struct response *response);
/* POST /auth/register */
enum err account_register(struct request *request, struct response *response);
/* Whether `current` is the caller's password: ERR_FORBIDDEN when not. */
enum err account_check_password(struct request *request, struct response *response,
                                const struct value *current);

/* GET and PUT /auth/profile */
enum err account_profile(struct request *request, struct response *response);
enum err account_update(struct request *request, struct response *response);
/* DELETE /auth/users/{id} */
enum err account_delete(struct request *request, struct response *response);

/* Erase up to `limit` rows of workspaces that were closed 15 minutes ago or earlier. *ret_erased tells
 * how many; call until 0. */
enum err account_purge_closed(struct pg *pg, int64_t limit, int64_t *ret_erased);

#endif
