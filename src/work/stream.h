/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain events as a stream in Redis, tallygate:events by default, for programs of the same house: they read
 * it in consumer groups (XREADGROUP, XACK). The truth stays in PostgreSQL: an entry's id is the event's
 * number in the order in which it was carried on (domain_events.no), so what Redis has already is known by
 * its last id, and what it lost is sent again under the same ids, from the first that not all groups have
 * confirmed.
 *
 * Groups are remembered here with what they confirmed: all before the first entry that they were given and
 * did not acknowledge, or that they were not given yet. When Redis comes back empty they are made anew there.
 * A group that somebody destroys is forgotten.
 *
 * What all groups confirmed is cut off, but for the last STREAM_KEPT entries. While a group does not read,
 * the stream grows to STREAM_MAX entries or STREAM_BYTES_MAX, and what comes then waits in PostgreSQL.
 */
#ifndef TALLYGATE_WORK_STREAM_H
#define TALLYGATE_WORK_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "store/pg.h"
#include "store/redis.h"

enum { STREAM_KEPT = 1000, STREAM_MAX = 1000000, STREAM_BYTES_MAX = 256 * 1024 * 1024 };

/* Whether there is something to send, or to look whether groups went on. */
enum err stream_is_due(struct pg *pg, bool *ret_due);
/* Send some of what Redis lacks, and note what was confirmed. *ret_more: there is more to send. That Redis is
 * away is noted, and no failure. */
enum err stream_run(struct pg *pg, struct redis *redis, const char *key, bool *ret_more);

#endif
