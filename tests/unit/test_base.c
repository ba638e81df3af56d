/* SPDX-License-Identifier: Apache-2.0 */
/* arena, buf, utf8, clock, err, metrics */
#include "test.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/metrics.h"
#include "base/utf8.h"

static void arena_gives_aligned_memory_that_lasts_until_reset(void **state)
{
    (void)state;
    struct arena arena = {0};
    char *pieces[200];
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        pieces[i] = arena_alloc(&arena, i * 7 + 1);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)i, i * 7 + 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        for (size_t b = 0; b < i * 7 + 1; b++) {
            assert_int_equal((unsigned char)pieces[i][b], i & 0xff);
        }
    }
    char *large = arena_zalloc(&arena, 1000, 1000);
    assert_int_equal(large[999999], 0);
    arena_reset(&arena);
    assert_ptr_equal(arena_alloc(&arena, 1), pieces[0]); /* the first block was kept */
    arena_free(&arena);
}

static void arena_copies_text(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_string_equal(arena_strdup(&arena, "word"), "word");
    assert_string_equal(arena_strndup(&arena, "wording", 4), "word");
    assert_string_equal(arena_printf(&arena, "%s-%d", "a", 7), "a-7");
    char *long_text = arena_printf(&arena, "%050000d", 1);
    assert_int_equal(strlen(long_text), 50000);
    arena_free(&arena);
}

static void buf_grows_to_its_maximum_and_no_further(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_string_equal(buf_text(&buf), "");
    buf_puts(&buf, "12345");
    buf_puts(&buf, "67890");
    assert_false(buf.overflow);
    assert_string_equal(buf_text(&buf), "1234567890");
    buf_putc(&buf, 'x');
    assert_true(buf.overflow);
    assert_string_equal(buf_text(&buf), "1234567890");
    buf_reset(&buf);
    buf_printf(&buf, "%d", 12345678);
    assert_false(buf.overflow);
    buf_printf(&buf, "%d", 123);
    assert_true(buf.overflow);
    assert_string_equal(buf_text(&buf), "12345678");
    buf_trim(&buf, 1);
    assert_null(buf.data);
    buf_free(&buf);
}

static void buf_escapes_json_strings(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } CASES[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"line\nend\t\x01\x7f", "\"line\\nend\\u0009\\u0001\\u007f\""},
        {"\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\""},
        {"bad\xff\xc3", "\"bad\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"", "\"\""},
    };
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        buf_reset(&buf);
        buf_put_json_string(&buf, CASES[i].in, strlen(CASES[i].in));
        assert_string_equal(buf_text(&buf), CASES[i].out);
    }
    buf_free(&buf);
}

static void utf8_follows_rfc_3629(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        size_t count;
    } CASES[] = {
        {"", true, 0},
        {"ascii", true, 5},
        {"\xc2\x80", true, 1},
        {"\xdf\xbf", true, 1},
        {"\xe0\xa0\x80", true, 1},
        {"\xed\x9f\xbf", true, 1},
        {"\xee\x80\x80", true, 1},
        {"\xef\xbf\xbf", true, 1},
        {"\xf0\x90\x80\x80", true, 1},
        {"\xf4\x8f\xbf\xbf", true, 1},
        {"\xc0\x80", false, 0},         /* overlong NUL */
        {"\xc1\xbf", false, 0},         /* overlong */
        {"\xe0\x9f\xbf", false, 0},     /* overlong */
        {"\xed\xa0\x80", false, 0},     /* surrogate */
        {"\xf0\x8f\xbf\xbf", false, 0}, /* overlong */
        {"\xf4\x90\x80\x80", false, 0}, /* past U+10FFFF */
        {"\xf5\x80\x80\x80", false, 0},
        {"\x80", false, 0},
        {"\xc3", false, 0},
        {"\xe2\x82", false, 0},
        {"\xf0\x9f\x98", false, 0},
        {"\xc3(", false, 0},
        {"\xff", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        size_t length = strlen(CASES[i].text);
        assert_int_equal(utf8_valid(CASES[i].text, length), CASES[i].valid);
        if (CASES[i].valid) {
            assert_int_equal(utf8_count(CASES[i].text, length), CASES[i].count);
        }
    }
    assert_true(utf8_valid("a\0b", 3)); /* NUL is a character like others; refusing it is the caller's */
}

static void clock_reads_and_writes_rfc_3339(void **state)
{
    static const struct {
        const char *in;
        const char *out; /* NULL: refused */
    } CASES[] = {
        {"1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"},
        {"2026-01-31T23:59:59.5Z", "2026-01-31T23:59:59.500000Z"},
        {"2026-01-31T23:59:59.123456789Z", "2026-01-31T23:59:59.123456Z"},
        {"2026-01-31T23:59:59.12345678901234567890Z", "2026-01-31T23:59:59.123456Z"},
        {"2026-01-31t12:00:00z", "2026-01-31T12:00:00Z"},
        {"2026-01-31 12:00:00+02:00", "2026-01-31T10:00:00Z"},
        {"2026-03-01T00:30:00+01:00", "2026-02-28T23:30:00Z"},
        {"2024-02-29T00:00:00-05:30", "2024-02-29T05:30:00Z"},
        {"1969-12-31T23:59:59.25Z", "1969-12-31T23:59:59.250000Z"},
        {"2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
        {"0033-04-03T15:00:00Z", "0033-04-03T15:00:00Z"},
        {"9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"},
        {"2026-02-29T00:00:00Z", NULL},
        {"1900-02-29T00:00:00Z", NULL},
        {"2026-13-01T00:00:00Z", NULL},
        {"2026-00-01T00:00:00Z", NULL},
        {"2026-01-32T00:00:00Z", NULL},
        {"2026-01-00T00:00:00Z", NULL},
        {"2026-01-31T24:00:00Z", NULL},
        {"2026-01-31T23:60:00Z", NULL},
        {"2026-01-31T23:59:61Z", NULL},
        {"2026-01-31T23:59:59", NULL},
        {"2026-01-31T23:59Z", NULL},
        {"2026-01-31", NULL},
        {"2026-01-31T23:59:59.Z", NULL},
        {"2026-01-31T23:59:59+24:00", NULL},
        {"2026-01-31T23:59:59+01", NULL},
        {"2026-01-31T23:59:59Zx", NULL},
        {" 2026-01-31T23:59:59Z", NULL},
        {"+2026-01-31T23:59:59Z", NULL},
        {"26-01-31T23:59:59Z", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        int64_t us = 77;
        bool ok = clock_parse(CASES[i].in, strlen(CASES[i].in), &us);
        if (!CASES[i].out) {
            if (ok) {
                fail_msg("%s was taken", CASES[i].in);
            }
            assert_int_equal(us, 77); /* untouched */
            continue;
        }
        char text[CLOCK_TEXT_SIZE];
        if (!ok) {
            fail_msg("%s was refused", CASES[i].in);
        }
        clock_format(us, text);
        assert_string_equal(text, CASES[i].out);
    }
}

static void clock_reads_dates(void **state)
{
    (void)state;
    int64_t us = 0;
    char text[CLOCK_TEXT_SIZE];
    assert_true(clock_parse_date("2026-11-05", 10, &us));
    assert_int_equal(us % USEC_PER_DAY, 0);
    clock_format_date(us, text);
    assert_string_equal(text, "2026-11-05");
    assert_false(clock_parse_date("2026-11-5", 9, &us));
    assert_false(clock_parse_date("2026-11-05T", 11, &us));
    assert_false(clock_parse_date("2026-11-31", 10, &us));
}

static void err_table_is_whole(void **state)
{
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++) {
        const struct err_info *info = err_info((enum err)e);
        assert_non_null(info->slug);
        assert_non_null(info->title);
        assert_non_null(info->detail);
        assert_in_range(info->status, 200, 599);
    }
    assert_int_equal(err_info((enum err)9999)->status, 500);
    assert_int_equal(err_info(ERR_UNAVAILABLE)->status, 503);
}

static const char *const ROUTE_NAMES[] = {"GET /a", "POST /a"};

static void metrics_memory_is_found_again_by_its_descriptor(void **state)
{
    (void)state;
    int fd = -1;
    struct metrics *first = metrics_map(-1, NULL, ROUTE_NAMES, 2, &fd);
    assert_non_null(first);
    assert_true(atomic_load(&first->started_us) > 0);
    assert_string_equal(first->routes[0], "none");
    assert_string_equal(first->routes[2], "POST /a");
    atomic_store(&first->events_recorded, 42);
    int again_fd = -1;
    struct metrics *again = metrics_map(fd, NULL, ROUTE_NAMES, 2, &again_fd);
    assert_int_equal(again_fd, fd);
    assert_int_equal(atomic_load(&again->events_recorded), 42);

    /* Other routes, whose counts would be taken for those of these: new memory, counts start anew. */
    struct metrics *fresh = metrics_map(fd, NULL, ROUTE_NAMES + 1, 1, &fd);
    assert_int_equal(atomic_load(&fresh->events_recorded), 0);
    munmap(first, sizeof(*first));
    munmap(again, sizeof(*again));
    munmap(fresh, sizeof(*fresh));
    close(fd);
}

static void metrics_memory_is_found_again_by_its_name(void **state)
{
    (void)state;
    char path[] = "/tmp/tallygate-metrics-XXXXXX", file[64];
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof(file), "%s/a.metrics", path);
    int fd = -1, again_fd = -1;
    assert_null(metrics_open(file));
    struct metrics *first = metrics_map(-1, file, ROUTE_NAMES, 2, &fd);
    metrics_sit_down(first);
    atomic_store(&metrics_seat()->requests, 3);
    atomic_store(&first->seats[1].pid, 999999999); /* above any process id */
    atomic_store(&first->seats[1].requests, 5);
    metrics_count_request(first, 1, 200, 700);
    metrics_count_request(first, -1, 299, 6000000);
    metrics_count_request(first, METRICS_ROUTES, 404, 500);

    struct metrics *again = metrics_map(-1, file, ROUTE_NAMES, 2, &again_fd);
    assert_int_equal(atomic_load(&again->requests_us[2][1].buckets[1]), 1); /* more than 500, at most 1000 */
    assert_int_equal(atomic_load(&again->requests_us[2][1].sum), 700);
    assert_int_equal(atomic_load(&again->requests_us[0][0].buckets[METRICS_BUCKETS - 1]), 1);
    assert_int_equal(atomic_load(&again->requests_us[0][10].buckets[0]), 1);
    assert_int_equal(METRICS_STATUS[10], 404);
    assert_int_equal(atomic_load(&again->seats[0].requests), 3); /* we are alive */
    assert_int_equal(atomic_load(&again->seats[1].pid), 0);
    assert_int_equal(atomic_load(&again->seats[1].requests), 0);
    metrics_clear_seat(again, getpid());
    assert_int_equal(atomic_load(&again->seats[0].pid), 0);
    const struct metrics *read_only = metrics_open(file);
    assert_string_equal(read_only->routes[1], "GET /a");
    metrics_close(read_only);

    assert_int_equal(truncate(file, 100), 0);
    assert_null(metrics_open(file));
    munmap(first, sizeof(*first));
    munmap(again, sizeof(*again));
    close(fd);
    close(again_fd);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_memory_that_lasts_until_reset),
        cmocka_unit_test(arena_copies_text),
        cmocka_unit_test(buf_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(buf_escapes_json_strings),
        cmocka_unit_test(utf8_follows_rfc_3629),
        cmocka_unit_test(clock_reads_and_writes_rfc_3339),
        cmocka_unit_test(clock_reads_dates),
        cmocka_unit_test(err_table_is_whole),
        cmocka_unit_test(metrics_memory_is_found_again_by_its_descriptor),
        cmocka_unit_test(metrics_memory_is_found_again_by_its_name),
    };
    return RUN(tests);
}
