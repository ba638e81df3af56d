/* SPDX-License-Identifier: Apache-2.0 */
/* cron */
#include "test.h"

#include <stdio.h>
#include <string.h>

#include "work/cron.h"

static struct cron_time at(const char *text)
{
    struct cron_time time;
    assert_int_equal(
        sscanf(text, "%d-%d-%d %d:%d", &time.year, &time.month, &time.day, &time.hour, &time.minute), 5);
    return time;
}

static void next_is(const char *cron_text, const char *after, const char *expected)
{
    struct cron cron;
    const char *reason = "";
    struct cron_time from = at(after), next;
    char told[32];
    assert_true(cron_parse(cron_text, &cron, &reason));
    assert_true(cron_next(&cron, &from, &next));
    snprintf(told, sizeof(told), "%04d-%02d-%02d %02d:%02d", next.year, next.month, next.day, next.hour,
             next.minute);
    assert_string_equal(told, expected);
}

static void when_it_is_due(void **state)
{
    (void)state;
    next_is("* * * * *", "2026-11-28 20:00", "2026-11-28 20:01");
    next_is("* * * * *", "2026-12-31 23:59", "2027-01-01 00:00");
    next_is("0 0 * * *", "2026-11-28 00:00", "2026-11-29 00:00");
    next_is("*/15 * * * *", "2026-11-28 20:46", "2026-11-28 21:00");
    next_is("5-20/5,50 1,13 * * *", "2026-11-28 13:20", "2026-11-28 13:50");
    next_is("5-20/5,50 1,13 * * *", "2026-11-28 13:50", "2026-11-29 01:05");
    next_is("30 2 29 2 *", "2026-03-01 00:00", "2028-02-29 02:30");
    next_is("0 12 31 * *", "2026-11-28 00:00", "2026-12-31 12:00");
    next_is("0 9 * * mon-fri", "2026-11-28 10:00", "2026-11-30 09:00"); /* a Saturday */
    next_is("0 9 * * 7", "2026-11-28 10:00", "2026-11-29 09:00");
    next_is("0 9 * * 0", "2026-11-28 10:00", "2026-11-29 09:00");
    next_is("0 0 1 JAN,jul *", "2026-11-28 10:00", "2027-01-01 00:00");
    /* Either day is enough when both are restricted; with a star both count. */
    next_is("0 0 13 * fri", "2026-11-28 00:00", "2026-12-04 00:00");
    next_is("0 0 13 * fri", "2026-12-11 00:00", "2026-12-13 00:00");
    next_is("0 0 */2 * fri", "2026-11-28 00:00", "2026-12-11 00:00");
}

static void what_is_none(void **state)
{
    static const char *const TEXTS[] = {"",
                                        "* * * *",
                                        "* * * * * *",
                                        "60 * * * *",
                                        "* 24 * * *",
                                        "* * 0 * *",
                                        "* * 32 * *",
                                        "* * * 13 *",
                                        "* * * 0 *",
                                        "* * * * 8",
                                        "a * * * *",
                                        "*/0 * * * *",
                                        "1-0 * * * *",
                                        "1/2 * * * *",
                                        "1,,2 * * * *",
                                        "1- * * * *",
                                        "*/ * * * *",
                                        "-1 * * * *",
                                        "1x * * * *",
                                        "* * * foo *",
                                        "99999999999999999999 * * * *",
                                        "*/-1 * * * *",
                                        "1,",
                                        "@daily"};
    (void)state;
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(*TEXTS); i++) {
        struct cron cron;
        const char *reason = NULL;
        assert_false(cron_parse(TEXTS[i], &cron, &reason));
        assert_non_null(reason);
    }
}

static void what_never_comes(void **state)
{
    struct cron cron;
    struct cron_time now = at("2026-11-28 20:00"), next;
    const char *reason;
    (void)state;
    assert_true(cron_parse("0 0 30 2 *", &cron, &reason));
    assert_false(cron_next(&cron, &now, &next));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(when_it_is_due), cmocka_unit_test(what_is_none),
                                       cmocka_unit_test(what_never_comes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
