/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CloudEvents 1.0 as usage events: `type` is the type, `subject` the user, `time` the timestamp, `data`
 * the metadata, and the number `data.value` the value; without one the value is 1. Other attributes
 * are taken and not kept.
 *
 * A CloudEvent is known by `source` and `id` together. Our id is made of both: `ce:` and the SHA-256,
 * in base64url, of the source, a NUL, and the id. Neither can hold a NUL, so no other pair makes the
 * same text, and the id has 46 characters however long they are.
 */
#ifndef TALLYGATE_ANALYTICS_CLOUDEVENT_H
#define TALLYGATE_ANALYTICS_CLOUDEVENT_H

#include <stdbool.h>
#include <stddef.h>

#include "analytics/event.h"

/* The reader of the JSON event format. It takes the extension attributes out of `object`. */
event_reader cloudevent_from_json;

/* Whether the request carries its attributes in headers (binary mode), if its Content-Type is none of
 * CloudEvents' own. */
bool cloudevent_in_headers(const struct request *request);
/* Such an event in the JSON event format, with `data`, which may be NULL and stays the caller's. */
enum err cloudevent_from_headers(struct request *request, struct json_object *data,
                                 struct json_object **ret_object);

/* Whether data of this media type is JSON: the subtype is json, or ends in +json. */
bool cloudevent_is_json(const char *media_type);

#endif
