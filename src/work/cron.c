/* SPDX-License-Identifier: Apache-2.0 */
#include "work/cron.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { YEARS_AHEAD = 5, FIELDS = 5 };

static const struct field {
    int min;
    int max;
    const char *names; /* of three letters, the first for `min` */
} TABLE[FIELDS] = {{0, 59, NULL},
                   {0, 23, NULL},
                   {1, 31, NULL},
                   {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                   {0, 7, "sunmontuewedthufrisat"}};

/* A number or a name; *text goes behind it. -1: neither. */
static int read_value(const char **text, const struct field *field)
{
    char *end;
    if (**text >= '0' && **text <= '9') {
        long value = strtol(*text, &end, 10);
        *text = end;
        return value >= field->min && value <= field->max ? (int)value : -1;
    }
    for (size_t i = 0; field->names && field->names[i]; i += 3) {
        if (strncasecmp(*text, field->names + i, 3) == 0) {
            *text += 3;
            return field->min + (int)(i / 3);
        }
    }
    return -1;
}

/* One of what commas part. */
static bool read_part(const char **text, const struct field *field, uint64_t *bits)
{
    int first, last, step = 1;
    bool star = **text == '*';
    if (star) {
        (*text)++;
        first = field->min;
        last = field->max;
    } else {
        first = last = read_value(text, field);
        if (first >= 0 && **text == '-') {
            (*text)++;
            last = read_value(text, field);
            star = true; /* a range, which may have steps */
        }
    }
    if (first < 0 || last < first) {
        return false;
    }
    if (**text == '/') {
        char *end;
        long given = strtol(*text + 1, &end, 10);
        if (!star || end == *text + 1 || (*text)[1] < '0' || (*text)[1] > '9' || given < 1 ||
            given > field->max) {
            return false;
        }
        step = (int)given;
        *text = end;
    }
    for (int value = first; value <= last; value += step) {
        *bits |= UINT64_C(1) << value;
    }
    return true;
}

static bool read_field(const char **text, const struct field *field, uint64_t *ret_bits)
{
    *ret_bits = 0;
    do {
        *text += **text == ',';
        if (!read_part(text, field, ret_bits)) {
            return false;
        }
    } while (**text == ',');
    return **text == '\0' || **text == ' ' || **text == '\t';
}

bool cron_parse(const char *text, struct cron *ret_cron, const char **ret_reason)
{
    static const char *const REASONS[FIELDS] = {"the minute is not one", "the hour is not one",
                                                "the day of the month is not one", "the month is not one",
                                                "the day of the week is not one"};
    uint64_t bits[FIELDS];
    bool stars[FIELDS];
    for (size_t i = 0; i < FIELDS; i++) {
        text += strspn(text, " \t");
        stars[i] = *text == '*';
        if (!*text) {
            *ret_reason = "it needs five fields";
            return false;
        }
        if (!read_field(&text, &TABLE[i], &bits[i])) {
            *ret_reason = REASONS[i];
            return false;
        }
    }
    if (text[strspn(text, " \t")]) {
        *ret_reason = "it has more than five fields";
        return false;
    }
    *ret_cron = (struct cron){.minutes = bits[0],
                              .hours = (uint32_t)bits[1],
                              .days = (uint32_t)bits[2],
                              .months = (uint16_t)bits[3],
                              .weekdays = (uint8_t)((bits[4] | bits[4] >> 7) & 0x7f),
                              .any_day = stars[2],
                              .any_weekday = stars[4]};
    return true;
}

static int days_in(int year, int month)
{
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return DAYS[month - 1] + (month == 2 && leap);
}

/* 0 is Sunday (Sakamoto's rule). */
static int weekday_of(int year, int month, int day)
{
    static const int OFFSETS[] = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
    year -= month < 3;
    return (year + year / 4 - year / 100 + year / 400 + OFFSETS[month - 1] + day) % 7;
}

static bool is_day(const struct cron *cron, const struct cron_time *time)
{
    bool day = cron->days >> time->day & 1;
    bool weekday = cron->weekdays >> weekday_of(time->year, time->month, time->day) & 1;
    return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

static void next_day(struct cron_time *time)
{
    time->hour = time->minute = 0;
    if (++time->day > days_in(time->year, time->month)) {
        time->day = 1;
        if (++time->month > 12) {
            time->month = 1;
            time->year++;
        }
    }
}

bool cron_next(const struct cron *cron, const struct cron_time *after, struct cron_time *ret_next)
{
    struct cron_time time = *after;
    time.minute++;
    while (time.year <= after->year + YEARS_AHEAD) {
        if (time.minute > 59) {
            time.minute = 0;
            time.hour++;
        }
        if (time.hour > 23) {
            next_day(&time);
        } else if (!(cron->months >> time.month & 1) || !is_day(cron, &time)) {
            next_day(&time);
        } else if (!(cron->hours >> time.hour & 1)) {
            time.minute = 0;
            time.hour++;
        } else if (!(cron->minutes >> time.minute & 1)) {
            time.minute++;
        } else {
            *ret_next = time;
            return true;
        }
    }
    return false;
}
