/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the events' tables need from time to time: partitions made before they are needed, old buckets
 * of the duplicate window dropped, births of active days taken over (sql/migrations/0003_ingest.up.sql says
 * what these are). Every ingest worker of every host does it; each step takes a lock in the database, so
 * that one does the work and the others find nothing to do.
 */
#ifndef TALLYGATE_ANALYTICS_UPKEEP_H
#define TALLYGATE_ANALYTICS_UPKEEP_H

#include <stdint.h>

#include "base/config.h"
#include "store/pg.h"

/* All zero at first: everything is due. */
struct upkeep {
    int64_t settle_at_us; /* monotonic, as all of them */
    int64_t partitions_at_us;
    int64_t buckets_at_us;
};

/* Do what is due; what fails is due again soon. Quick when nothing is; else it may take some seconds. */
void upkeep_run(struct upkeep *upkeep, const struct config *config, struct pg *pg);

/* Make the partitions and buckets that are missing, now and all of them. *ret_changed: how many were made or
 * dropped. */
enum err upkeep_make(const struct config *config, struct pg *pg, int64_t *ret_changed);

#endif
