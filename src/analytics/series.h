/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events of which type, over time: one axis of times without gaps, and a series of numbers for
 * each type along it, as charting libraries take them.
 *
 * Days, weeks (from Monday) and months are those of `timezone`, with its changes of the clock, and so is the
 * day on which a period ends that has no other end. In UTC they come from the rollup of days, else from that
 * of hours. A zone whose offset is no whole number of hours would cut the rollups' hours in two, so it is
 * refused rather than rounded.
 */
#ifndef TALLYGATE_ANALYTICS_SERIES_H
#define TALLYGATE_ANALYTICS_SERIES_H

#include "http/request.h"
#include "http/response.h"

/* GET /analytics/events/by-type */
enum err series_by_type(struct request *request, struct response *response);

#endif
