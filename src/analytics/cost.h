/* SPDX-License-Identifier: Apache-2.0 */
/* What things cost: sums of `cost` events, by day or by user, highest first. */
#ifndef TALLYGATE_ANALYTICS_COST_H
#define TALLYGATE_ANALYTICS_COST_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /analytics/costs?days=&group_by=day|user&limit=&cursor= */
enum err cost_list(struct request *request, struct response *response);

#endif
