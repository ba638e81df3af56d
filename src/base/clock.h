/* SPDX-License-Identifier: Apache-2.0 */
/* Time: wall clock as microseconds since 1970 UTC, waiting by the monotonic clock. */
#ifndef TALLYGATE_BASE_CLOCK_H
#define TALLYGATE_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define USEC_PER_SEC  INT64_C(1000000)
#define USEC_PER_DAY  (INT64_C(86400) * USEC_PER_SEC)
#define USEC_PER_HOUR (INT64_C(3600) * USEC_PER_SEC)

/* The first microsecond of the year 1 and the last of 9999: what an RFC 3339 time can say. */
#define CLOCK_MIN_US (INT64_C(-62135596800) * USEC_PER_SEC)
#define CLOCK_MAX_US (INT64_C(253402300800) * USEC_PER_SEC - 1)

enum { CLOCK_TEXT_SIZE = 32 }; /* room for one RFC 3339 time and its NUL */

int64_t clock_now_us(void);
/* For deadlines and durations; not related to any calendar. */
int64_t clock_monotonic_us(void);
/* `us` microseconds of the monotonic clock as a timespec, for pthread_cond_timedwait(). */
struct timespec clock_timespec(int64_t us);

/* Write `us` as `2026-01-31T23:59:59.123456Z`; the fraction is left out when it is zero. */
void clock_format(int64_t us, char ret_text[CLOCK_TEXT_SIZE]);
/* Read an RFC 3339 date-time of years 1 to 9999 (offset required; of the fraction six digits
 * are kept; a leap second reads as the next second). False and *ret_us untouched when
 * it is none. */
bool clock_parse(const char *text, size_t length, int64_t *ret_us);
/* Read `YYYY-MM-DD` as that day's first microsecond in UTC. */
bool clock_parse_date(const char *text, size_t length, int64_t *ret_us);
void clock_format_date(int64_t us, char ret_text[CLOCK_TEXT_SIZE]);

#endif
