/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in a workspace, in which role, and how one gets in: by an invitation that is mailed, and that only
 * the account of that address can accept. A workspace has exactly one owner at any time; ownership is handed
 * over to a member, in one transaction, and the owner of before is an admin then. Nobody joins a personal
 * workspace.
 */
#ifndef TALLYGATE_IDENTITY_MEMBER_H
#define TALLYGATE_IDENTITY_MEMBER_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /workspaces/{id}/members?limit=&cursor= */
enum err member_list(struct request *request, struct response *response);
/* PATCH /workspaces/{id}/members/{user_id}: {role} */
enum err member_change(struct request *request, struct response *response);
/* DELETE /workspaces/{id}/members/{user_id}: by who manages it, or of oneself. */
enum err member_remove(struct request *request, struct response *response);
/* POST /workspaces/{id}/transfer: {user_id} */
enum err member_transfer(struct request *request, struct response *response);

/* GET and POST /workspaces/{id}/invitations: {email, role}; DELETE …/invitations/{invitation_id} */
enum err invitation_list(struct request *request, struct response *response);
enum err invitation_create(struct request *request, struct response *response);
enum err invitation_delete(struct request *request, struct response *response);
/* POST /workspaces/accept: {token} */
enum err invitation_accept(struct request *request, struct response *response);

/* Drop some invitations that nobody took in time. *ret_more: there may be others. */
enum err invitation_prune(struct pg *pg, bool *ret_more);

#endif
