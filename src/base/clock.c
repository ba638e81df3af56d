/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

int64_t clock_now_us(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

struct timespec clock_timespec(int64_t us)
{
    return (struct timespec){.tv_sec = us / USEC_PER_SEC, .tv_nsec = (us % USEC_PER_SEC) * 1000};
}

static void split(int64_t us, struct tm *ret_tm, int64_t *ret_fraction)
{
    int64_t seconds = us / USEC_PER_SEC;
    int64_t fraction = us % USEC_PER_SEC;
    if (fraction < 0) {
        fraction += USEC_PER_SEC;
        seconds--;
    }
    time_t t = (time_t)seconds;
    gmtime_r(&t, ret_tm);
    *ret_fraction = fraction;
}

void clock_format(int64_t us, char ret_text[CLOCK_TEXT_SIZE])
{
    struct tm tm;
    int64_t fraction;
    split(us, &tm, &fraction);
    char decimals[12] = "";
    if (fraction) {
        snprintf(decimals, sizeof(decimals), ".%06d", (int)fraction);
    }
    /* strftime's %Y would write the year 33 with two digits. The remainders tell the compiler that it fits.
     */
    snprintf(ret_text, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u%sZ",
             ((unsigned)tm.tm_year + 1900) % 10000, ((unsigned)tm.tm_mon + 1) % 100,
             (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
             (unsigned)tm.tm_sec % 100, decimals);
}

void clock_format_date(int64_t us, char ret_text[CLOCK_TEXT_SIZE])
{
    struct tm tm;
    int64_t fraction;
    split(us, &tm, &fraction);
    snprintf(ret_text, CLOCK_TEXT_SIZE, "%04u-%02u-%02u", ((unsigned)tm.tm_year + 1900) % 10000,
             ((unsigned)tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100);
}

/* Read exactly `digits` digits at *cursor and step over them; false when one is missing. */
static bool take_digits(const char **cursor, const char *end, int digits, int *ret_value)
{
    int value = 0;
    if (end - *cursor < digits) {
        return false;
    }
    for (int i = 0; i < digits; i++) {
        char c = (*cursor)[i];
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + (c - '0');
    }
    *cursor += digits;
    *ret_value = value;
    return true;
}

static bool take_char(const char **cursor, const char *end, const char *any_of)
{
    if (*cursor == end || !**cursor || !strchr(any_of, **cursor)) {
        return false;
    }
    (*cursor)++;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : DAYS[month - 1];
}

static bool take_date(const char **cursor, const char *end, struct tm *ret_tm)
{
    int year, month, day;
    if (!take_digits(cursor, end, 4, &year) || !take_char(cursor, end, "-") ||
        !take_digits(cursor, end, 2, &month) || !take_char(cursor, end, "-") ||
        !take_digits(cursor, end, 2, &day)) {
        return false;
    }
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month)) {
        return false;
    }
    ret_tm->tm_year = year - 1900;
    ret_tm->tm_mon = month - 1;
    ret_tm->tm_mday = day;
    return true;
}

static bool take_offset(const char **cursor, const char *end, int *ret_offset_s)
{
    if (take_char(cursor, end, "Zz")) {
        *ret_offset_s = 0;
        return true;
    }
    int sign = *cursor != end && **cursor == '-' ? -1 : 1;
    int hours, minutes;
    if (!take_char(cursor, end, "+-") || !take_digits(cursor, end, 2, &hours) ||
        !take_char(cursor, end, ":") || !take_digits(cursor, end, 2, &minutes) || hours > 23 ||
        minutes > 59) {
        return false;
    }
    *ret_offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool clock_parse(const char *text, size_t length, int64_t *ret_us)
{
    const char *cursor = text;
    const char *end = text + length;
    struct tm tm = {0};
    int hour, minute, second, offset_s;
    int64_t fraction = 0;

    if (!take_date(&cursor, end, &tm) || !take_char(&cursor, end, "Tt ") ||
        !take_digits(&cursor, end, 2, &hour) || !take_char(&cursor, end, ":") ||
        !take_digits(&cursor, end, 2, &minute) || !take_char(&cursor, end, ":") ||
        !take_digits(&cursor, end, 2, &second) || hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    if (take_char(&cursor, end, ".")) {
        int digit;
        bool any = false;
        int64_t scale = USEC_PER_SEC / 10;
        while (take_digits(&cursor, end, 1, &digit)) {
            fraction += digit * scale;
            scale /= 10;
            any = true;
        }
        if (!any) {
            return false;
        }
    }
    if (!take_offset(&cursor, end, &offset_s) || cursor != end) {
        return false;
    }
    tm.tm_hour = hour;
    tm.tm_min = minute;
    tm.tm_sec = second;
    *ret_us = ((int64_t)timegm(&tm) - offset_s) * USEC_PER_SEC + fraction;
    return true;
}

bool clock_parse_date(const char *text, size_t length, int64_t *ret_us)
{
    const char *cursor = text;
    struct tm tm = {0};
    if (!take_date(&cursor, text + length, &tm) || cursor != text + length) {
        return false;
    }
    *ret_us = (int64_t)timegm(&tm) * USEC_PER_SEC;
    return true;
}
