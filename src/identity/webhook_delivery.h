/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What became of the events that went to a webhook, and sending one again. How they are sent is in
 * work/courier.h.
 */
#ifndef TALLYGATE_IDENTITY_WEBHOOK_DELIVERY_H
#define TALLYGATE_IDENTITY_WEBHOOK_DELIVERY_H

#include "http/router.h"

/* GET /webhooks/{id}/deliveries?state=: the latest first, each with its attempts and what was answered. */
route_handler webhook_delivery_list;
/* GET /webhooks/{id}/deliveries/{delivery_id}: with the event. */
route_handler webhook_delivery_show;
/* POST /webhooks/{id}/deliveries/{delivery_id}/redeliver: 202, and the event is on its way once more. */
route_handler webhook_delivery_again;

#endif
