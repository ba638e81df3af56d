/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/json.h"
#include "http/validate.h"

static const char *no_x(const char *text, size_t length)
{
    return memchr(text, 'x', length) ? "must not have an x" : NULL;
}

static const struct field FIELDS[] = {
    {"name", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 2, 4, no_x},
    {"secret", FIELD_BYTES, FIELD_NULLABLE, 2, 4, NULL},
    {"count", FIELD_INTEGER, 0, -5, 5, NULL},
    {"value", FIELD_NUMBER, 0, 0, 0, NULL},
    {"at", FIELD_TIME, 0, 0, 0, NULL},
    {"day", FIELD_DATE, 0, 0, 0, NULL},
    {"map", FIELD_OBJECT, 0, 0, 0, NULL},
    {"list", FIELD_ARRAY, 0, 1, 2, NULL},
};
enum { NAME, SECRET, NUMBER_OF, VALUE, AT, DAY, MAP, LIST, COUNT };

/* "field:code field:code …" of what was found. */
static const char *faults(struct arena *arena, const char *prefix, const char *text, struct value *values,
                          struct json_object **ret_body)
{
    struct problem problem = {.arena = arena};
    struct json_fault fault;
    if (!json_parse(text, strlen(text), ret_body, &fault)) {
        fail_msg("the case itself is no JSON: %s", text);
    }
    enum err e = validate_object(&problem, prefix, *ret_body, FIELDS, COUNT, values);
    assert_int_equal(e, problem.count ? ERR_INVALID : ERR_OK);
    const char *list = "";
    for (const struct problem_field *f = problem.first; f; f = f->next) {
        list = arena_printf(arena, "%s%s%s:%s", list, *list ? " " : "", f->field, f->code);
        assert_true(strlen(f->message) > 5);
    }
    return list;
}

static void every_fault_is_named(void **state)
{
    static const char *const CASES[][2] = {
        {"{\"name\":\"ab\"}", ""},
        {"{\"name\":\"abcd\"}", ""},
        {"{\"name\":\"\\u00e9\\u00e9\\u00e9\\u00e9\"}", ""}, /* characters, not bytes */
        {"{}", "name:required"},
        {"{\"name\":null}", "name:type"},
        {"{\"name\":7}", "name:type"},
        {"{\"name\":\"a\"}", "name:too_short"},
        {"{\"name\":\"abcde\"}", "name:too_long"},
        {"{\"name\":\"a\\nb\"}", "name:control_character"},
        {"{\"name\":\"a\\u0000b\"}", "name:nul_character"},
        {"{\"name\":\"axb\"}", "name:format"},
        {"{\"name\":\"ab\",\"secret\":null}", ""},
        {"{\"name\":\"ab\",\"secret\":\"\\u00e9\\u00e9\"}", ""},
        {"{\"name\":\"ab\",\"secret\":\"\\u00e9\\u00e9\\u00e9\"}", "secret:too_long"}, /* bytes */
        {"{\"name\":\"ab\",\"count\":5}", ""},
        {"{\"name\":\"ab\",\"count\":6}", "count:out_of_range"},
        {"{\"name\":\"ab\",\"count\":-6}", "count:out_of_range"},
        {"{\"name\":\"ab\",\"count\":1.0}", "count:type"},
        {"{\"name\":\"ab\",\"count\":\"1\"}", "count:type"},
        {"{\"name\":\"ab\",\"count\":18446744073709551615}", "count:out_of_range"},
        {"{\"name\":\"ab\",\"value\":1e308}", ""},
        {"{\"name\":\"ab\",\"value\":0.0}", ""},
        {"{\"name\":\"ab\",\"value\":0e5}", ""},
        {"{\"name\":\"ab\",\"value\":5e-324}", ""},
        {"{\"name\":\"ab\",\"value\":1e-400}", "value:out_of_range"},
        {"{\"name\":\"ab\",\"value\":1e309}", "value:out_of_range"},
        {"{\"name\":\"ab\",\"value\":true}", "value:type"},
        {"{\"name\":\"ab\",\"at\":\"2026-01-31T00:00:00Z\"}", ""},
        {"{\"name\":\"ab\",\"at\":\"2026-01-31\"}", "at:format"},
        {"{\"name\":\"ab\",\"at\":1769817600}", "at:type"},
        {"{\"name\":\"ab\",\"day\":\"2026-01-31\"}", ""},
        {"{\"name\":\"ab\",\"day\":\"2026-02-30\"}", "day:format"},
        {"{\"name\":\"ab\",\"map\":{}}", ""},
        {"{\"name\":\"ab\",\"map\":[]}", "map:type"},
        {"{\"name\":\"ab\",\"list\":[1,2]}", ""},
        {"{\"name\":\"ab\",\"list\":[]}", "list:too_short"},
        {"{\"name\":\"ab\",\"list\":[1,2,3]}", "list:too_long"},
        {"{\"name\":\"ab\",\"list\":{}}", "list:type"},
        {"{\"name\":\"ab\",\"nmae\":1}", "nmae:unknown_field"},
        {"{\"secret\":1,\"count\":9,\"value\":\"\",\"zzz\":1}",
         "name:required secret:type count:out_of_range value:type zzz:unknown_field"},
        {"[]", "body:type"},
        {"null", "body:type"},
        {"\"x\"", "body:type"},
    };
    (void)state;
    struct arena arena = {0};
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct value values[COUNT];
        JSON_AUTO body = NULL;
        const char *found = faults(&arena, "", CASES[i][0], values, &body);
        if (strcmp(found, CASES[i][1]) != 0) {
            fail_msg("%s: found '%s', expected '%s'", CASES[i][0], found, CASES[i][1]);
        }
    }
    arena_free(&arena);
}

static void a_prefix_stands_before_the_names(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct value values[COUNT];
    JSON_AUTO body = NULL;
    assert_string_equal(faults(&arena, "events[3].", "{\"name\":1,\"q\":1}", values, &body),
                        "events[3].name:type events[3].q:unknown_field");
    arena_free(&arena);
}

static void values_are_handed_over(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct value values[COUNT];
    JSON_AUTO body = NULL;
    faults(&arena, "",
           "{\"name\":\"abc\",\"secret\":null,\"count\":-3,\"value\":0.10,\"at\":\"1970-01-01T00:00:01Z\"}",
           values, &body);
    assert_string_equal(values[NAME].text, "abc");
    assert_int_equal(values[NAME].length, 3);
    assert_true(values[SECRET].present && values[SECRET].is_null && !values[SECRET].text);
    assert_int_equal(values[NUMBER_OF].integer, -3);
    assert_string_equal(values[VALUE].text, "0.10"); /* the decimal as it was sent */
    assert_int_equal(values[AT].integer, 1000000);
    assert_false(values[DAY].present || values[MAP].present || values[LIST].present);
    arena_free(&arena);
}

static void query_strings_are_checked_alike(void **state)
{
    static const struct field QUERY[] = {
        {"days", FIELD_INTEGER, 0, 1, 400, NULL},
        {"name", FIELD_STRING, FIELD_REQUIRED, 1, 5, no_x},
        {"day", FIELD_DATE, 0, 0, 0, NULL},
        {"from", FIELD_MOMENT, 0, 0, 0, NULL},
        {"with.", FIELD_STRING, FIELD_PREFIX, 1, 3, NULL},
    };
    static const char *const CASES[][2] = {
        {"name=ab", ""},
        {"name=ab&days=400&day=2026-01-01", ""},
        {"days=1", "name:required"},
        {"name=ab&days=401", "days:out_of_range"},
        {"name=ab&days=0", "days:out_of_range"},
        {"name=ab&days=", "days:type"},
        {"name=ab&days=1.5", "days:type"},
        {"name=ab&days=+1", "days:type"}, /* a space, decoded */
        {"name=ab&days=0x1", "days:type"},
        {"name=ab&days=99999999999999999999", "days:type"},
        {"name=ab&name=cd", "name:repeated"},
        {"name=abcdef", "name:too_long"},
        {"name=x", "name:format"},
        {"name=ab&other=1", "other:unknown_field"},
        {"name=ab&day=1", "day:format"},
        {"name=ab&from=2026-01-01", ""},
        {"name=ab&from=2026-01-01T00:00:00Z", ""},
        {"name=ab&from=2026-01-01T00:00:00", "from:format"},
        {"name=ab&from=2026-01-32", "from:format"},
        {"name=ab&with.a=1&with.b=2&with.a.b=3&with.%C3%A9=4", ""},
        {"name=ab&with.a=1&with.b=2&with.%61=3", "with.a:repeated"},
        {"name=ab&with.=1", "with.:unknown_field"},
        {"name=ab&with=1", "with:unknown_field"},
        {"name=ab&without.a=1", "without.a:unknown_field"},
        {"name=ab&with.a=&with.b=1234&with.c=123", "with.a:too_short with.b:too_long"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct arena arena = {0};
        struct request request = {.arena = &arena, .problem = {.arena = &arena}, .query = CASES[i][0]};
        struct value values[ARRAY_SIZE(QUERY)];
        enum err e = validate_query(&request, QUERY, ARRAY_SIZE(QUERY), values);
        const char *list = "";
        for (const struct problem_field *f = request.problem.first; f; f = f->next) {
            list = arena_printf(&arena, "%s%s%s:%s", list, *list ? " " : "", f->field, f->code);
        }
        if (strcmp(list, CASES[i][1]) != 0 || (e == ERR_OK) != (*list == '\0')) {
            fail_msg("%s: found '%s', expected '%s'", CASES[i][0], list, CASES[i][1]);
        }
        arena_free(&arena);
    }
}

static void bodies_that_are_no_json_are_told_with_their_place(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct request request = {
        .arena = &arena, .problem = {.arena = &arena}, .body = "{\"a\":01}", .body_length = 8};
    struct json_object *body = NULL;
    assert_int_equal(validate_parse(&request, &body), ERR_BAD_REQUEST);
    assert_string_equal(request.problem.detail,
                        "The body is not valid JSON: at byte 6, a number starts with a zero.");
    arena_free(&arena);
}

static void addresses_can_be_mailed_to(void **state)
{
    static const char *const GOOD[] = {
        "a@b",   "ann@example.org", "a.b+c_d-e@ex-ample.co.uk", "!#$%&'*+/=?^_`{|}~-@x.y", "1@2.3",
        "A@B.C", "a.b.c@d"};
    static const char *const BAD[] = {
        "",           "a",     "@",     "a@",    "@b",   "a@b.",  "a@.b",    "a@b..c",      "a b@c",
        "a@b c",      "a@-b",  "a@b-",  "a@b_c", "a@@b", "a@b@c", "\"a\"@b", "a@[1.2.3.4]", "\xc3\xa4@b",
        "a@\xc3\xa4", "a,b@c", "a@b\n", "<a@b>", ".a@b", "a.@b",  "a..b@c",  ".@a"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
        if (validate_email(GOOD[i], strlen(GOOD[i]))) {
            fail_msg("%s was refused", GOOD[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        if (!validate_email(BAD[i], strlen(BAD[i]))) {
            fail_msg("%s was taken", BAD[i]);
        }
    }
    char address[300];
    for (int local = 64; local <= 65; local++) {
        snprintf(address, sizeof(address), "%0*d@b.c", local, 0);
        assert_int_equal(validate_email(address, strlen(address)) == NULL, local == 64);
    }
    for (int label = 63; label <= 64; label++) {
        snprintf(address, sizeof(address), "a@%0*d.c", label, 0);
        assert_int_equal(validate_email(address, strlen(address)) == NULL, label == 63);
    }
    /* 254 bytes in all, and one more */
    snprintf(address, sizeof(address), "%060d@%060d.%060d.%060d.%09d", 0, 0, 0, 0, 0);
    for (size_t more = 0; more < 2; more++) {
        strcat(address, strlen(address) < 254 ? "0" : more ? "0" : "");
        assert_int_equal(validate_email(address, strlen(address)) == NULL, strlen(address) <= 254);
    }
    assert_int_equal(strlen(address), 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fault_is_named),
        cmocka_unit_test(a_prefix_stands_before_the_names),
        cmocka_unit_test(values_are_handed_over),
        cmocka_unit_test(query_strings_are_checked_alike),
        cmocka_unit_test(bodies_that_are_no_json_are_told_with_their_place),
        cmocka_unit_test(addresses_can_be_mailed_to),
    };
    return RUN(tests);
}
