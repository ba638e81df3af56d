/* SPDX-License-Identifier: Apache-2.0 */
/* The report of one day, in UTC: totals by type and hour, top users, change against the day before. */
#ifndef TALLYGATE_ANALYTICS_DAILY_H
#define TALLYGATE_ANALYTICS_DAILY_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /analytics/reports/daily?date= */
enum err daily_show(struct request *request, struct response *response);

#endif
