/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the rollups say what the events say, and making them anew where they do not. They are written in
 * the transaction of their events, so they differ only after somebody's hand, or a fault, was in the
 * database.
 *
 * Days whose events were dropped (archive.h) are left as they are: their rollups are all that is known of
 * them.
 */
#ifndef TALLYGATE_ANALYTICS_REBUILD_H
#define TALLYGATE_ANALYTICS_REBUILD_H

#include <stdint.h>

#include "base/err.h"
#include "base/progress.h"
#include "store/pg.h"

struct rebuild {
    int64_t workspace_id;  /* 0: all that are open */
    const char *first_day; /* YYYY-MM-DD; NULL: from the first event on */
    const char *last_day;  /* NULL: until the last */
    bool mend;             /* else only look. Recording waits while a piece is made anew. */
};

struct rebuild_found {
    int64_t workspaces;
    int64_t days;  /* that were looked at, over all workspaces */
    int64_t wrong; /* rows of rollups that were not as the events say */
};

enum err rebuild_run(struct pg *pg, const struct rebuild *rebuild, const struct progress *progress,
                     struct rebuild_found *ret_found);

#endif
