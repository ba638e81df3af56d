/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things of a workspace that are known by a UUID, as webhooks and reports are: what their handlers have in
 * common. Statements take the workspace as $1 and the id as $2, and return the id and the item as JSON.
 */
#ifndef TALLYGATE_IDENTITY_ITEM_H
#define TALLYGATE_IDENTITY_ITEM_H

#include "http/request.h"
#include "http/response.h"
#include "identity/audit.h"

/* Say that there is no such thing; `kind` is what it is called. Returns ERR_NOT_FOUND. */
enum err item_unknown(struct request *request, const char *kind);
/* Add workspace and id; ERR_NOT_FOUND, said, when the {id} of the path is none. */
enum err item_params(struct request *request, const char *kind, struct pg_params *params);
/* Answer with all of them, where they are few: $1 alone. */
enum err item_list(struct request *request, struct response *response, const struct pg_statement *statement);
enum err item_show(struct request *request, struct response *response, const char *kind,
                   const struct pg_statement *statement);
/* Carry out what changes one, and answer with its column 2, or without a body where `status` is 204. One that
 * changed nothing found no such thing. */
enum err item_change(struct request *request, struct response *response, const struct audit_change *change,
                     int status);
/* To stand first in what makes one: one after the other in a workspace, so that those there are can be
 * counted. */
audit_before item_one_by_one;

#endif
