/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workspaces: the borders between tenants. Everybody has a personal one, alone; others are made, shared with
 * members (member.h), renamed, and deleted by their owner. A deleted workspace is closed: nothing is read or
 * written any more within a second, and its events are erased afterwards (account_purge_closed).
 */
#ifndef TALLYGATE_IDENTITY_WORKSPACE_H
#define TALLYGATE_IDENTITY_WORKSPACE_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* Enter the workspace that a request is about, and check that the caller may do there what the route needs:
 * that of the header X-Workspace, else of the key, else the personal one. Sets principal.workspace_id and
 * may. */
enum err workspace_enter(struct request *request, struct response *response);
/* The same for routes that name the workspace in their path, as {id}. */
enum err workspace_enter_path(struct request *request, struct response *response);

/* GET /workspaces: the caller's, with their roles. */
enum err workspace_list(struct request *request, struct response *response);
/* POST /workspaces: {name, slug?} */
enum err workspace_create(struct request *request, struct response *response);
/* GET /workspaces/{id} */
enum err workspace_show(struct request *request, struct response *response);
/* PATCH /workspaces/{id}: {name, slug} */
enum err workspace_change(struct request *request, struct response *response);
/* DELETE /workspaces/{id} */
enum err workspace_delete(struct request *request, struct response *response);

/* For administrators at a shell: all that are open, and what a slug or an id in decimal means, with the
 * account that owns it. ERR_NOT_FOUND when there is none. */
enum err workspace_list_all(struct request *request, struct response *response);
enum err workspace_find(struct pg *pg, const char *workspace, int64_t *ret_id, int64_t *ret_owner_id);

#endif
