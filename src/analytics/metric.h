/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers computed from the rollups alone, never from raw events; each counts an event the moment
 * it is acknowledged, and one that is kept (answer.h) within a second.
 *
 * What the types mean: an `api_call` or `tool_execution` event is one call, whatever its value; the
 * value of a `cost` event is money; the value of a `session` event is its length in seconds. Users
 * are the client's own user_id strings. Averages over nothing are 0.
 */
#ifndef TALLYGATE_ANALYTICS_METRIC_H
#define TALLYGATE_ANALYTICS_METRIC_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /analytics/metrics?days= */
enum err metric_overview(struct request *request, struct response *response);
/* GET /analytics/usage/{user_id}?days=&fields= */
enum err metric_usage(struct request *request, struct response *response);

#endif
