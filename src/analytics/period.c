/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/period.h"

#include "base/json.h"

static void set(struct period *period, int64_t start_us, int64_t days)
{
    period->days = days;
    period->start_us = start_us;
    period->end_us = start_us + days * USEC_PER_DAY;
    clock_format_date(period->start_us, period->start_date);
}

void period_last_days(struct period *ret_period, int64_t days)
{
    int64_t now_us = clock_now_us();
    int64_t today_us = now_us - now_us % USEC_PER_DAY;
    set(ret_period, today_us - (days - 1) * USEC_PER_DAY, days);
}

void period_day(struct period *ret_period, int64_t day_us)
{
    set(ret_period, day_us, 1);
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
