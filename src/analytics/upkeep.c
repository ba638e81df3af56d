/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/upkeep.h"

#include "base/clock.h"

enum {
    SETTLE_EVERY_S = 1,
    PARTITIONS_EVERY_S = 10, /* late events wait in the default partition for so long */
    BUCKETS_EVERY_S = 600,
    RETRY_S = 1,
    BIRTHS = 2000,    /* in one transaction */
    BUDGET_MS = 2000, /* of one kind of work in one go, as others are waiting */
};

static const struct pg_statement SETTLE = {"upkeep_settle", "SELECT settle_active_days($1::int)"};
static const struct pg_statement PARTITION = {"upkeep_partition",
                                              "SELECT ensure_next_event_partition($1)::int"};
static const struct pg_statement BUCKETS = {"upkeep_buckets", "SELECT keep_event_id_buckets()"};

/* Run a statement until it answers 0: nothing is left. ERR_UNAVAILABLE when it is not through in time. */
static enum err run_down(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params)
{
    int64_t until_us = clock_monotonic_us() + BUDGET_MS * 1000;
    while (clock_monotonic_us() < until_us) {
        PG_RESULT_AUTO result = NULL;
        enum err e = pg_query(pg, statement, params, &result);
        if (e || pg_get_int(result, 0, 0) == 0) {
            return e;
        }
    }
    return ERR_UNAVAILABLE;
}

static enum err settle(struct pg *pg)
{
    struct pg_params params = {0};
    pg_int(&params, BIRTHS);
    return run_down(pg, &SETTLE, &params);
}

static const char *unit(const struct config *config)
{
    return config->events_partition == CONFIG_DAY ? "day" : "month";
}

static enum err make_partitions(const struct config *config, struct pg *pg)
{
    struct pg_params params = {0};
    pg_text(&params, unit(config));
    return run_down(pg, &PARTITION, &params);
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

enum err upkeep_make(const struct config *config, struct pg *pg, int64_t *ret_changed)
{
    enum { AT_MOST = 10000 }; /* one that is held up for ever must not hold up us */
    struct pg_params params = {0};
    PG_RESULT_AUTO buckets = NULL;
    pg_text(&params, unit(config));
    enum err e = pg_query(pg, &BUCKETS, NULL, &buckets);
    int64_t changed = e ? 0 : pg_get_int(buckets, 0, 0);
    for (int i = 0; !e && i < AT_MOST; i++) {
        PG_RESULT_AUTO row = NULL;
        e = pg_query(pg, &PARTITION, &params, &row);
        if (e || pg_get_int(row, 0, 0) == 0) {
            break;
        }
        changed++;
    }
    *ret_changed = changed;
    return e;
}
