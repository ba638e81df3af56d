/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/period.h"

#include "base/json.h"

enum { OVER_AFTER_S = 3600 };

static void set(struct period *period, int64_t start_us, int64_t days)
{
    period->days = days;
    period->start_us = start_us;
    period->end_us = start_us + days * USEC_PER_DAY;
    clock_format_date(period->start_us, period->start_date);
}

int64_t period_today_us(void)
{
    int64_t now_us = clock_now_us();
    return now_us - now_us % USEC_PER_DAY;
}

static void set_last_days(struct period *period, int64_t days, int64_t today_us)
{
    set(period, today_us - (days - 1) * USEC_PER_DAY, days);
}

void period_last_days(struct period *ret_period, int64_t days)
{
    set_last_days(ret_period, days, period_today_us());
}

void period_day(struct period *ret_period, int64_t day_us)
{
    set(ret_period, day_us, 1);
}

enum err period_read(struct problem *problem, const struct value values[PERIOD_FIELDS_COUNT],
                     int64_t default_days, struct period *ret_period)
{
    return period_read_on(problem, values, default_days, period_today_us(), ret_period);
}

enum err period_read_on(struct problem *problem, const struct value values[PERIOD_FIELDS_COUNT],
                        int64_t default_days, int64_t today_us, struct period *ret_period)
{
    const struct value *days = &values[PERIOD_DAYS], *start = &values[PERIOD_START],
                       *end = &values[PERIOD_END];
    if (!start->present && !end->present) {
        set_last_days(ret_period, days->present ? days->integer : default_days, today_us);
        return ERR_OK;
    }
    if (days->present) {
        return problem_field(problem, "days", "conflict", "does not go together with start and end");
    }
    if (!start->present) {
        return problem_field(problem, "start", "required", "is required where end is given");
    }
    int64_t last_us = end->present ? end->integer : today_us;
    if (last_us < start->integer) {
        return problem_field(problem, end->present ? "end" : "start", "out_of_range",
                             end->present ? "must not lie before start" : "must not lie after today");
    }
    int64_t span = (last_us - start->integer) / USEC_PER_DAY + 1;
    if (span > PERIOD_DAYS_MAX) {
        return problem_field(problem, "start", "out_of_range", "must lie at most %d days before end",
                             PERIOD_DAYS_MAX - 1);
    }
    set(ret_period, start->integer, span);
    /* Days in other zones begin up to a day before or after, and all of them are told. */
    bool early = ret_period->start_us - USEC_PER_DAY < CLOCK_MIN_US;
    if (early || ret_period->end_us + USEC_PER_DAY > CLOCK_MAX_US + 1) {
        return problem_field(problem, early || !end->present ? "start" : "end", "out_of_range",
                             "must lie in the years 1 to 9999, and not at their very edge");
    }
    return ERR_OK;
}

bool period_is_over(const struct period *period)
{
    return period->end_us + OVER_AFTER_S * USEC_PER_SEC <= clock_now_us();
}

void period_params(const struct period *period, struct pg_params *params)
{
    pg_text(params, period->start_date);
    pg_int(params, period->days);
}

void period_json(const struct period *period, struct json_object *answer)
{
    json_add_time(answer, "period_start", period->start_us);
    json_add_time(answer, "period_end", period->end_us);
}
