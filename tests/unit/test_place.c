/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "analytics/place.h"
#include "base/crypto.h"

static bool read_plain(const char *plain, size_t length, struct place *ret_place)
{
    char cursor[2 * PLACE_CURSOR_MAX];
    crypto_base64url((const uint8_t *)plain, length, cursor);
    return place_from_cursor(cursor, strlen(cursor), ret_place);
}

static void cursors_lead_back(void **state)
{
    static const int64_t TIMES[] = {0, 1, INT64_C(1767225600123456), INT64_C(253402300799999999)};
    static const char *const IDS[] = {"a",          ":",         "a:b:c", "\xc3\xa9\xf0\x9f\x99\x82",
                                      "\x01\n\x7f", "0123456789"};
    (void)state;
    for (size_t t = 0; t < ARRAY_SIZE(TIMES); t++) {
        for (size_t i = 0; i < ARRAY_SIZE(IDS); i++) {
            struct place place, back;
            struct buf cursor;
            buf_init(&cursor, PLACE_CURSOR_MAX);
            place_set(&place, TIMES[t], IDS[i]);
            place_put_cursor(&place, &cursor);
            assert_true(place_from_cursor(buf_text(&cursor), cursor.length, &back));
            assert_int_equal(back.us, TIMES[t]);
            assert_string_equal(back.id, IDS[i]);
            assert_string_equal(back.time, place.time);
            buf_free(&cursor);
        }
    }
}

static void the_longest_place_fits(void **state)
{
    struct place place, back;
    struct buf cursor;
    char id[PLACE_ID_MAX + 1];
    (void)state;
    memset(id, 'x', PLACE_ID_MAX);
    id[PLACE_ID_MAX] = '\0';
    buf_init(&cursor, PLACE_CURSOR_MAX);
    place_set(&place, INT64_C(253402300799999999), id);
    place_put_cursor(&place, &cursor);
    assert_int_equal(cursor.length, PLACE_CURSOR_MAX);
    assert_true(place_from_cursor(buf_text(&cursor), cursor.length, &back));
    assert_string_equal(back.id, id);
    buf_free(&cursor);
}

static void other_texts_are_none(void **state)
{
    static const char *const CASES[] = {"",
                                        ":",
                                        "1",
                                        "1:",
                                        ":a",
                                        "-1:a",
                                        "+1:a",
                                        " 1:a",
                                        "1 :a",
                                        "1.0:a",
                                        "0x1:",
                                        "1e3:a",
                                        "1;a",
                                        "1:\xff",
                                        "1234567890123456789:a",
                                        "a:1",
                                        "\xff:abc",
                                        "1:\xc0\x80",
                                        "253402300800000000:a"};
    struct place place = {.us = 7};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        if (read_plain(CASES[i], strlen(CASES[i]), &place)) {
            fail_msg("%s was taken", CASES[i]);
        }
    }
    assert_false(read_plain("1:a\0b", 5, &place));
    assert_false(place_from_cursor("!", 1, &place));
    assert_false(place_from_cursor("MTph=", 5, &place));
    assert_true(place_from_cursor("MTph", 4, &place));
    assert_int_equal(place.us, 1);
    char too_long[PLACE_CURSOR_MAX + 2];
    memset(too_long, 'A', sizeof(too_long));
    assert_false(place_from_cursor(too_long, sizeof(too_long), &place));
    assert_int_equal(place.us, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_lead_back),
        cmocka_unit_test(the_longest_place_fits),
        cmocka_unit_test(other_texts_are_none),
    };
    return RUN(tests);
}
