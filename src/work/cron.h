/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When something is due by five fields as crontab(5) has them: minute, hour, day of the month, month, day of
 * the week, each a star, numbers, ranges and steps, parted by commas; months and days also by their English
 * names, Sunday as 0 or 7. As there, when both days are restricted, either one is enough.
 */
#ifndef TALLYGATE_WORK_CRON_H
#define TALLYGATE_WORK_CRON_H

#include <stdbool.h>
#include <stdint.h>

struct cron {
    uint64_t minutes; /* bits */
    uint32_t hours;
    uint32_t days;
    uint16_t months; /* bit 1 is January */
    uint8_t weekdays;
    bool any_day;
    bool any_weekday;
};

/* A minute by the clock on somebody's wall. */
struct cron_time {
    int year;
    int month; /* 1 to 12 */
    int day;
    int hour;
    int minute;
};

/* False, with *ret_reason, when the text is none. */
bool cron_parse(const char *text, struct cron *ret_cron, const char **ret_reason);
/* The first minute after `after` at which it is due; false when that is not within five years, as for
 * February 30th. */
bool cron_next(const struct cron *cron, const struct cron_time *after, struct cron_time *ret_next);

#endif
