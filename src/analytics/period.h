/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The span of time that a question is about: whole calendar days in UTC, as the rollups keep them.
 * `days=N` is today and the N-1 days before it.
 */
#ifndef TALLYGATE_ANALYTICS_PERIOD_H
#define TALLYGATE_ANALYTICS_PERIOD_H

#include <json-c/json.h>
#include <stdint.h>

#include "base/clock.h"
#include "store/pg.h"

enum { PERIOD_DAYS_MAX = 400 };

struct period {
    int64_t days;
    int64_t start_us; /* first microsecond */
    int64_t end_us;   /* the one after the last */
    char start_date[CLOCK_TEXT_SIZE];
};

void period_last_days(struct period *ret_period, int64_t days);
/* One day, given by its first microsecond. */
void period_day(struct period *ret_period, int64_t day_us);
/* Add the first day and the number of days as parameters; the period must live until the call is over. */
void period_params(const struct period *period, struct pg_params *params);
/* Add period_start and period_end (exclusive) to an answer. */
void period_json(const struct period *period, struct json_object *answer);

#endif
