/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The routes that take events, and the forms in which these come: one event, a JSON array, NDJSON (one a
 * line), and CloudEvents in the structured, batch and binary modes of its HTTP binding. The Content-Type
 * tells which.
 */
#ifndef TALLYGATE_ANALYTICS_INTAKE_H
#define TALLYGATE_ANALYTICS_INTAKE_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* ERR_MEDIA_TYPE, with the list of those that are taken, when the request's is none of them. */
enum err intake_check_media_type(struct request *request);

/* POST /analytics/events, after that check */
enum err intake_events(struct request *request, struct response *response);
/* POST /analytics/metrics/batch: {"events": […]} */
enum err intake_batch(struct request *request, struct response *response);

#endif
