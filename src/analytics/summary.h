/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in a period, on one page, against the period of the same length before it. */
#ifndef TALLYGATE_ANALYTICS_SUMMARY_H
#define TALLYGATE_ANALYTICS_SUMMARY_H

#include "http/request.h"
#include "http/response.h"

/* GET /analytics/summary */
enum err summary_show(struct request *request, struct response *response);
/* Add to `change` under `name` three columns of the first row: the value before, the difference, and
 * the difference in percent of the value before, null where that was nothing. */
void summary_add_change(struct json_object *change, const char *name, const PGresult *result,
                        int first_column);

#endif
