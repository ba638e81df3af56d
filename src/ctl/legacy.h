/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often the paths of the former services are asked for. nginx answers them by itself and counts nothing,
 * so it sends a datagram for each to a socket beside those of the pools (nginx/tallygate-http.conf.in), and
 * we count. What comes while nobody listens is not counted.
 */
#ifndef TALLYGATE_CTL_LEGACY_H
#define TALLYGATE_CTL_LEGACY_H

#include "base/buf.h"

struct legacy;

/* Listen in `directory`, for whoever has its group. NULL after saying why. */
struct legacy *legacy_open(const char *directory);
void legacy_close(struct legacy *legacy);
/* Readable when there is something to be taken. */
int legacy_event(const struct legacy *legacy);
/* Take all that is there. */
void legacy_take(struct legacy *legacy);
/* Write the samples, for OpenMetrics; any thread may. NULL: there are none. */
void legacy_write(struct legacy *legacy, struct buf *text);

#endif
