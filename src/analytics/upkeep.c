/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/upkeep.h"

#include "base/clock.h"

enum {
    SETTLE_EVERY_S = 1,
    PARTITIONS_EVERY_S = 10, /* late events wait in the default partition for so long */
    BUCKETS_EVERY_S = 600,
    RETRY_S = 1,
    BIRTHS = 2000, /* in one transaction */
    ROUNDS = 50,   /* in one go: the housekeeper has other things to do */
};

static const struct pg_statement SETTLE = {"upkeep_settle", "SELECT settle_active_days($1::int)"};
static const struct pg_statement PARTITIONS = {"upkeep_partitions", "SELECT ensure_event_partitions($1)"};
static const struct pg_statement BUCKETS = {"upkeep_buckets", "SELECT keep_event_id_buckets()"};

static enum err settle(struct pg *pg)
{
    enum err e = ERR_OK;
    int64_t taken = 1;
    for (int round = 0; !e && taken > 0 && round < ROUNDS; round++) {
        struct pg_params params = {0};
        PG_RESULT_AUTO result = NULL;
        pg_int(&params, BIRTHS);
        e = pg_query(pg, &SETTLE, &params, &result);
        taken = e ? 0 : pg_get_int(result, 0, 0);
    }
    return e;
}

static enum err make_partitions(const struct config *config, struct pg *pg)
{
    struct pg_params params = {0};
    pg_text(&params, config->events_partition == CONFIG_DAY ? "day" : "month");
    return pg_query(pg, &PARTITIONS, &params, NULL);
}

static int64_t next(enum err e, int64_t every_s)
{
    return clock_monotonic_us() + (e ? RETRY_S : every_s) * USEC_PER_SEC;
}

void upkeep_run(struct upkeep *upkeep, const struct config *config, struct pg *pg)
{
    int64_t now_us = clock_monotonic_us();
    if (now_us >= upkeep->buckets_at_us) {
        upkeep->buckets_at_us = next(pg_query(pg, &BUCKETS, NULL, NULL), BUCKETS_EVERY_S);
    }
    if (now_us >= upkeep->partitions_at_us) {
        upkeep->partitions_at_us = next(make_partitions(config, pg), PARTITIONS_EVERY_S);
    }
    if (now_us >= upkeep->settle_at_us) {
        upkeep->settle_at_us = next(settle(pg), SETTLE_EVERY_S);
    }
}
