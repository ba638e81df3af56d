/* SPDX-License-Identifier: Apache-2.0 */
/* All events of a period in one file, oldest first, sent as they are read: any number of them. */
#ifndef TALLYGATE_ANALYTICS_EXPORT_H
#define TALLYGATE_ANALYTICS_EXPORT_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* Options of a COPY that lets JSON pass as it is: it holds no control characters, so these can be quote and
 * delimiter. (COPY's own text format would double each backslash.) */
#define EXPORT_PLAIN_LINES "FORMAT csv, QUOTE E'\\001', DELIMITER E'\\002'"

/* GET /analytics/export?format=csv|ndjson&days=|start=&end=&type=&user_id=&metadata.KEY= */
enum err export_events(struct request *request, struct response *response);

#endif
