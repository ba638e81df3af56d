/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The aggregate query: one measure of the events of a period, in groups.
 *
 * Where a rollup holds the groups, the answer comes from it and costs a few rows a day, or a row for each
 * user and day. What no rollup holds (groups by a member of the metadata, least and greatest values by user,
 * distinct users by hour) is counted from raw events, and then only when the rollups say that there are at
 * most QUERY_RAW_EVENTS_MAX of them in the period: a wider question is refused with a hint instead of keeping
 * the database busy.
 */
#ifndef TALLYGATE_ANALYTICS_QUERY_H
#define TALLYGATE_ANALYTICS_QUERY_H

#include "http/request.h"
#include "http/response.h"

enum { QUERY_RAW_EVENTS_MAX = 500000 };

/* GET /analytics/query */
enum err query_run(struct request *request, struct response *response);

#endif
