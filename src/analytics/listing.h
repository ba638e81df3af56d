/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw events in pages, newest first.
 *
 * A page goes on after the last event of the page before it, by time and id, so events that are recorded
 * meanwhile neither repeat nor hide one. A page looks at a bounded number of events: where few of them pass
 * the filters it holds fewer than `limit`, or none, and still has a next_cursor. Only a next_cursor that is
 * null ends the list.
 */
#ifndef TALLYGATE_ANALYTICS_LISTING_H
#define TALLYGATE_ANALYTICS_LISTING_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /analytics/events/date-range?days=|start=&end=&type=&user_id=&metadata.KEY=&limit=&cursor= */
enum err listing_of_all(struct request *request, struct response *response);
/* GET /analytics/users/{user_id}/events?days=|start=&end=&type=&metadata.KEY=&limit=&cursor= */
enum err listing_of_user(struct request *request, struct response *response);

#endif
