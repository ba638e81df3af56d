/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many events of one request. Each stands alone: one that is not valid is told by its place and its
 * neighbours are recorded.
 */
#ifndef TALLYGATE_ANALYTICS_BATCH_H
#define TALLYGATE_ANALYTICS_BATCH_H

#include <stddef.h>

#include "analytics/event.h"
#include "base/err.h"
#include "base/json_scan.h"
#include "http/request.h"

/* Said of an event that only the database refuses. */
#define BATCH_REFUSED "is not storable: the database refuses it"

/* Read each of the `count` texts with `read`, record those that are valid, and answer
 * {accepted, duplicates, rejected: [{index, errors}]}. */
enum err batch_record(struct request *request, const struct json_span *texts, size_t count,
                      event_reader *read);

#endif
