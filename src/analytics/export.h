/* SPDX-License-Identifier: Apache-2.0 */
/* All events of a period in one file, oldest first, sent as they are read: any number of them. */
#ifndef TALLYGATE_ANALYTICS_EXPORT_H
#define TALLYGATE_ANALYTICS_EXPORT_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /analytics/export?format=csv|ndjson&days=|start=&end=&type=&user_id=&metadata.KEY= */
enum err export_events(struct request *request, struct response *response);

#endif
