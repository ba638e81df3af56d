/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The span of time that a question is about: whole calendar days in UTC, as the rollups keep them.
 * A client names it by `days=N` (today and the N-1 days before it) or by `start` and `end`, its first and
 * last day; without an end it reaches to today.
 *
 * A period is over, for those who keep answers, an hour after its last day. What is recorded later than half
 * an hour after the end of its own day counts as late (queries/ingest.sql), so no event slips through
 * between the two: no statement lasts for half an hour.
 */
#ifndef TALLYGATE_ANALYTICS_PERIOD_H
#define TALLYGATE_ANALYTICS_PERIOD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "http/problem.h"
#include "http/validate.h"
#include "store/pg.h"

enum { PERIOD_DAYS_MAX = 400 };

/* The first rows of a table of query parameters, and where their values are. */
/* clang-format off */
#define PERIOD_FIELDS                                    \
    {"days", FIELD_INTEGER, 0, 1, PERIOD_DAYS_MAX, NULL}, \
    {"start", FIELD_DATE, 0, 0, 0, NULL},                 \
    {"end", FIELD_DATE, 0, 0, 0, NULL}
/* clang-format on */
enum { PERIOD_DAYS, PERIOD_START, PERIOD_END, PERIOD_FIELDS_COUNT };

struct period {
    int64_t days;
    int64_t start_us; /* first microsecond */
    int64_t end_us;   /* the one after the last */
    char start_date[CLOCK_TEXT_SIZE];
};

/* What the parameters say; `default_days` when they say nothing. ERR_INVALID with the field noted. */
enum err period_read(struct problem *problem, const struct value values[PERIOD_FIELDS_COUNT],
                     int64_t default_days, struct period *ret_period);
/* The same where today is another date, as it may be in another zone: its midnight as if it were UTC's. */
enum err period_read_on(struct problem *problem, const struct value values[PERIOD_FIELDS_COUNT],
                        int64_t default_days, int64_t today_us, struct period *ret_period);
int64_t period_today_us(void);
void period_last_days(struct period *ret_period, int64_t days);
/* One day, given by its first microsecond. */
void period_day(struct period *ret_period, int64_t day_us);
/* Whether, in UTC, nothing but late events can change what is to be said of it. */
bool period_is_over(const struct period *period);
/* Add the first day and the number of days as parameters; the period must live until the call is over. */
void period_params(const struct period *period, struct pg_params *params);
/* Add period_start and period_end (exclusive) to an answer. */
void period_json(const struct period *period, struct json_object *answer);

#endif
