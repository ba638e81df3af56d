/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Webhooks of a workspace: who wants to hear of which domain events, and where. Those of the platform's own
 * workspace hear of all accounts, workspaces and keys. Only who manages the workspace sees them, as a URL may
 * be a secret. Each has a secret that its requests are signed with, shown once (work/webhook_secret.h).
 */
#ifndef TALLYGATE_IDENTITY_WEBHOOK_H
#define TALLYGATE_IDENTITY_WEBHOOK_H

#include "http/router.h"

/* GET /webhooks: at most WEBHOOKS_MAX. */
route_handler webhook_list;
/* POST /webhooks {url, event_types, description?, format?}: 201 with the secret. */
route_handler webhook_create;
/* GET, PATCH, DELETE /webhooks/{id}. A change takes what creation takes, and state: enabled or paused. */
route_handler webhook_show;
route_handler webhook_change;
route_handler webhook_delete;
/* POST /webhooks/{id}/secret: another one; for a day the one of before counts as well. */
route_handler webhook_rotate;
/* POST /webhooks/{id}/test: 202, and an event of type webhook.test is on its way. */
route_handler webhook_test;

#endif
