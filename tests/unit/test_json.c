/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner at the door: what RFC 8259 allows passes, all else does not. The cases follow the kinds
 * of JSONTestSuite (y: must be taken, n: must be refused); the texts are ours. */
#include "test.h"

#include "base/json.h"

struct text {
    const char *bytes;
    size_t length; /* 0: up to NUL */
};
#define T(s) \
    {        \
        s, 0 \
    }
#define TN(s)            \
    {                    \
        s, sizeof(s) - 1 \
    }

static const struct text TAKEN[] = {
    T("null"),
    T("true"),
    T("false"),
    T("0"),
    T("-0"),
    T("1"),
    T("-1"),
    T("42"),
    T("0.5"),
    T("-0.5"),
    T("1e5"),
    T("1E5"),
    T("1e+5"),
    T("1e-5"),
    T("1.25E-3"),
    T("0e0"),
    T("0e+1"),
    T("-1.0"),
    T("123456789012345678"),
    T("9223372036854775807"),
    T("-9223372036854775808"),
    T("18446744073709551615"),
    T("1e308"),
    T("-1e308"),
    T("1.7976931348623157e308"),
    T("5e-324"),
    T("1e-400"),
    T("0.1"),
    T("100000000000000000000.0"),
    T("0.000000000000000000000000000000000000000000000000000000000000000000000000000001"),
    T("\"\""),
    T("\"a\""),
    T("\" \""),
    T("\"\\\"\""),
    T("\"\\\\\""),
    T("\"\\/\""),
    T("\"/\""),
    T("\"\\b\\f\\n\\r\\t\""),
    T("\"\\u0041\""),
    T("\"\\u00e9\""),
    T("\"\\uD834\\uDD1E\""),
    T("\"\\uFFFF\""),
    T("\"\\u0000\""),
    T("\"\\u001f\""),
    T("\"\\\\u0000\""),
    T("\"\x7f\""),
    T("\"\xc3\xa9\""),
    T("\"\xe2\x82\xac\""),
    T("\"\xf0\x9f\x98\x80\""),
    T("\"\xf4\x8f\xbf\xbf\""),
    T("\"\xe2\x80\xa8\xe2\x80\xa9\""),
    T("\"\\u2028\""),
    T("\"// no comment\""),
    T("[]"),
    T("[ ]"),
    T("[1]"),
    T("[1,2]"),
    T("[ 1 , 2 ]"),
    T("[[]]"),
    T("[[],[]]"),
    T("[null]"),
    T("[\"\"]"),
    T("[{}]"),
    T("[1,null,true,\"x\",{},[]]"),
    T("{}"),
    T("{ }"),
    T("{\"\":0}"),
    T("{\"a\":1}"),
    T("{\"a\":1,\"b\":2}"),
    T("{ \"a\" : [ 1 , { \"b\" : null } ] }"),
    T("{\"a\":{\"b\":{\"c\":{}}}}"),
    T("{\"a\":1,\"a\":2}"),
    T("{\"\\u0061\":1}"),
    T("{\"\xc3\xa9\":1}"),
    T("{\"a b\\n\":1}"),
    T(" 1 "),
    T("\t1\n"),
    T("\r\n[\r\n]\r\n"),
    T(" \t\r\n{}"),
    T("\"\\ud800\\udc00\""),
    T("[-0.0e-0]"),
    T("1e309"),
    T("-1e99999"),
    T("18446744073709551616"),
    T("[-9223372036854775809,{\"a\":99999999999999999999999999}]"),
};

static const struct text REFUSED[] = {
    T(""),
    T(" "),
    T("\n"),
    T("nul"),
    T("nulll"),
    T("Null"),
    T("NULL"),
    T("True"),
    T("truth"),
    T("fals"),
    T("undefined"),
    T("NaN"),
    T("nan"),
    T("Infinity"),
    T("-Infinity"),
    T("inf"),
    T("+1"),
    T("01"),
    T("-01"),
    T("00"),
    T("-"),
    T("--1"),
    T("1."),
    T(".5"),
    T("-.5"),
    T("1.e5"),
    T("1e"),
    T("1e+"),
    T("1e5.5"),
    T("1E"),
    T("0x10"),
    T("1_000"),
    T("1,5"),
    T("1 2"),
    T("0.1.2"),
    T("1a"),
    T("1f"),
    T("\xef\xbc\x91"),
    T("\""),
    T("\"a"),
    T("a\""),
    T("'a'"),
    T("\"a'"),
    T("\"\\\""),
    T("\"\\x41\""),
    T("\"\\a\""),
    T("\"\\'\""),
    T("\"\\0\""),
    T("\"\\u\""),
    T("\"\\u00\""),
    T("\"\\u004\""),
    T("\"\\u00g1\""),
    T("\"\\U0041\""),
    T("\"\\u 041\""),
    T("\"\n\""),
    T("\"\t\""),
    T("\"\x01\""),
    T("\"\x1f\""),
    TN("\"\0\""),
    T("\"\\\n\""),
    T("\"\\ud800\""),
    T("\"\\udc00\""),
    T("\"\\ud800x\""),
    T("\"\\ud800\\n\""),
    T("\"\\ud800\\u0041\""),
    T("\"\\ud800\\ud800\""),
    T("\"\\udc00\\ud800\""),
    T("\"\\ud800\\u\""),
    T("\"\xff\""),
    T("\"\xc0\xaf\""),
    T("\"\xed\xa0\x80\""),
    T("\"\xe2\x82\""),
    T("\"\xf4\x90\x80\x80\""),
    T("\"\x80\""),
    T("\"\xc3\""),
    T("["),
    T("]"),
    T("[1"),
    T("[1,"),
    T("[1,]"),
    T("[,1]"),
    T("[,]"),
    T("[1,,2]"),
    T("[1 2]"),
    T("[1:2]"),
    T("[1;2]"),
    T("[1}"),
    T("[]]"),
    T("[[]"),
    T("[1]x"),
    T("[1],"),
    T("[a]"),
    T("[\"a\",\n4\n,1,"),
    T("[1,\n1\n,1"),
    T("[*]"),
    T("[x"),
    T("[\\u000A\"\"]"),
    T("{"),
    T("}"),
    T("{\"a\"}"),
    T("{\"a\":}"),
    T("{\"a\":1"),
    T("{\"a\":1,"),
    T("{\"a\":1,}"),
    T("{,\"a\":1}"),
    T("{:1}"),
    T("{1:1}"),
    T("{a:1}"),
    T("{'a':1}"),
    T("{\"a\" 1}"),
    T("{\"a\",1}"),
    T("{\"a\"::1}"),
    T("{\"a\":1 \"b\":2}"),
    T("{\"a\":1,,\"b\":2}"),
    T("{\"a\":1}}"),
    T("{\"a\":1]"),
    T("{null:1}"),
    T("{\"a\":1}#"),
    T("{\"a\":1}//"),
    T("{\"a\":/*c*/1}"),
    T("{\"a\":1}/**/"),
    T("{{}}"),
    T("{\"a\":1;\"b\":2}"),
    T("{[]:1}"),
    T("// c\n1"),
    T("/* c */ 1"),
    T("# c\n1"),
    T("\xef\xbb\xbf{}"),
    T("\xef\xbb\xbf"),
    T("\xff\xfe{\0}\0"),
    T("\f1"),
    T("\v1"),
    T("1\f"),
    T("\xc2\xa0"
      "1"),
    T("[\xe2\x81\xa0]"),
    TN("1\0"),
    TN("\0"),
    TN("{}\0"),
    TN("[\0]"),
    T("<null>"),
    T("?"),
    T("<"),
    T("abc"),
    T("\xe5"),
    T("*"),
    T(","),
    T(":"),
};

static size_t length_of(const struct text *text)
{
    return text->length ? text->length : strlen(text->bytes);
}

static void takes_what_the_rfc_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(TAKEN); i++) {
        struct json_fault fault = {.reason = ""};
        JSON_AUTO value = NULL;
        JSON_AUTO again = NULL;
        size_t length;
        if (!json_scan(TAKEN[i].bytes, length_of(&TAKEN[i]), &fault)) {
            fail_msg("%s: refused at %zu: %s", TAKEN[i].bytes, fault.offset, fault.reason);
        }
        if (!json_parse(TAKEN[i].bytes, length_of(&TAKEN[i]), &value, &fault)) {
            fail_msg("%s: scanned but not parsed: %s", TAKEN[i].bytes, fault.reason);
        }
        const char *text = json_text(value, &length);
        if (!json_parse(text, length, &again, &fault)) {
            fail_msg("%s: its own text %s is refused: %s", TAKEN[i].bytes, text, fault.reason);
        }
        assert_true(json_object_equal(value, again));
    }
}

static void refuses_everything_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(REFUSED); i++) {
        struct json_fault fault = {.offset = 999999};
        struct json_object *value = (void *)&fault;
        if (json_scan(REFUSED[i].bytes, length_of(&REFUSED[i]), &fault)) {
            fail_msg("case %zu was taken: %s", i, REFUSED[i].bytes);
        }
        assert_non_null(fault.reason);
        assert_in_range(fault.offset, 0, length_of(&REFUSED[i]));
        assert_false(json_parse(REFUSED[i].bytes, length_of(&REFUSED[i]), &value, &fault));
        assert_ptr_equal(value, &fault); /* untouched */
    }
}

/* Every prefix of a text is a text that ends too early. */
static void refuses_a_text_that_is_cut_anywhere(void **state)
{
    static const char WHOLE[] = "{\"a\":[1.5e3,\"\\u00e9\xc3\xa9\\n\",true,null,{\"b\":[]}],\"c\":-0.25}";
    (void)state;
    struct json_fault fault;
    assert_true(json_scan(WHOLE, sizeof(WHOLE) - 1, &fault));
    for (size_t length = 0; length < sizeof(WHOLE) - 1; length++) {
        /* A copy of just that size lets the sanitizers see a read past the end. */
        char *cut = mem_alloc(length);
        memcpy(cut, WHOLE, length);
        assert_false(json_scan(cut, length, &fault));
        free(cut);
    }
}

/* What a walk finds, as text: `1|{"a":2}|"x"` of a list, `"a"=1|"b"=[]` of an object; then its fault. */
static const char *walked(const char *text, size_t length)
{
    static char found[4096];
    struct json_walk walk;
    size_t out = 0;
    json_walk_start(&walk, text, length);
    found[0] = '\0';
    while (json_walk_next(&walk)) {
        out += (size_t)snprintf(found + out, sizeof(found) - out, "%s%.*s%s%.*s", out ? "|" : "",
                                (int)walk.name.length, walk.kind == '{' ? walk.name.text : "",
                                walk.kind == '{' ? "=" : "", (int)walk.value.length, walk.value.text);
    }
    if (walk.fault.reason) {
        snprintf(found + out, sizeof(found) - out, "!%zu: %s", walk.fault.offset, walk.fault.reason);
    }
    assert_false(json_walk_next(&walk)); /* and stays at its end */
    return found;
}

static void a_walk_finds_the_elements(void **state)
{
    static const char *const CASES[][2] = {
        {"[]", ""},
        {" [ ] ", ""},
        {"{}", ""},
        {"\n{ }\n", ""},
        {"[1]", "1"},
        {"[1,2]", "1|2"},
        {" [ 1 , \"a,]\" ,\n{\"b\" : [2, 3]}, null ] ", "1|\"a,]\"|{\"b\" : [2, 3]}|null"},
        {"[[],[[]],{}]", "[]|[[]]|{}"},
        {"[-0.5e+3,true,\"\"]", "-0.5e+3|true|\"\""},
        {"{\"a\":1}", "\"a\"=1"},
        {"{ \"a\\\"}\" : [ 1 ] , \"a\":{} }", "\"a\\\"}\"=[ 1 ]|\"a\"={}"},
        {"null", ""},
        {" \"text\" ", ""},
        {"1", ""},
        {"", "!0: the text ends too early"},
        {"x", "!0: expected a value"},
        {"[1,2] x", "1|2!6: something follows the value"},
        {"[] []", "!3: something follows the value"},
        {"1 2", "!2: something follows the value"},
        {"[1,]", "1!3: expected a value"},
        {"[,1]", "!1: expected a value"},
        {"[1 2]", "1!3: expected a comma or the end of a list or object"},
        {"[1}", "1!2: expected a comma or the end of a list or object"},
        {"[1", "1!2: the text ends too early"},
        {"[1,", "1!3: the text ends too early"},
        {"[", "!1: the text ends too early"},
        {"[1,tru]", "1!3: expected a value"},
        {"[1,{\"a\":01}]", "1!9: a number starts with a zero"},
        {"[\"\xff\"]", "!2: the text is not valid UTF-8"},
        {"{\"a\":1,}", "\"a\"=1!7: expected a name in double quotes"},
        {"{\"a\" 1}", "!5: expected a colon after a name"},
        {"{1:1}", "!1: expected a name in double quotes"},
        {"{\"a\":1]", "\"a\"=1!6: expected a comma or the end of a list or object"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        size_t length = strlen(CASES[i][0]);
        char *exact = mem_alloc(length); /* so that a read past the end is seen */
        memcpy(exact, CASES[i][0], length);
        assert_string_equal(walked(exact, length), CASES[i][1]);
        free(exact);
    }
}

/* The grammar alone counts for the whole; what is past our limits is found when the element is parsed. */
static void a_walk_leaves_the_limits_to_the_elements(void **state)
{
    static const char *const ELEMENTS[] = {"\"\\ud800\"", "\"\\udc00\\ud800x\"", "\"\\ud800\\ud83d\\ude00\"",
                                           "{\"a\\u0000\":1}"};
    (void)state;
    struct json_fault fault;
    for (size_t i = 0; i < ARRAY_SIZE(ELEMENTS); i++) {
        char text[100], expected[100];
        JSON_AUTO value = NULL;
        snprintf(text, sizeof(text), "[1,%s,2]", ELEMENTS[i]);
        snprintf(expected, sizeof(expected), "1|%s|2", ELEMENTS[i]);
        assert_string_equal(walked(text, strlen(text)), expected);
        assert_false(json_parse(ELEMENTS[i], strlen(ELEMENTS[i]), &value, &fault));
    }
    static const char BROKEN[] = "[\"\\ud800\\u00g0\"]"; /* no pair, and the second is no escape at all */
    assert_string_equal(walked(BROKEN, strlen(BROKEN)), "!13: \\u needs four hex digits");
}

/* "[" depth times with its ends, and a 7 behind it in the list. */
static char *nested(size_t depth, size_t *ret_length)
{
    char *text = mem_alloc(2 * depth + 5);
    text[0] = '[';
    for (size_t i = 0; i < depth; i++) {
        text[1 + i] = '[';
        text[1 + depth + i] = ']';
    }
    memcpy(text + 1 + 2 * depth, ",7]", 4);
    *ret_length = 2 * depth + 4;
    return text;
}

static void a_walk_goes_deeper_than_a_tree(void **state)
{
    static const struct {
        size_t depth;
        bool walks;
    } CASES[] = {{1, true}, {33, true}, {3000, true}, {32768, true}, {32769, false}, {2000000, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        size_t length;
        struct json_walk walk;
        char *text = nested(CASES[i].depth, &length);
        json_walk_start(&walk, text, length);
        assert_int_equal(json_walk_next(&walk), CASES[i].walks);
        if (CASES[i].walks) {
            assert_int_equal(walk.value.length, 2 * CASES[i].depth);
            assert_true(json_walk_next(&walk));
            assert_int_equal(*walk.value.text, '7');
            assert_false(json_walk_next(&walk));
            assert_null(walk.fault.reason);
        } else {
            assert_string_equal(walk.fault.reason, "the nesting is too deep");
        }
        free(text);
    }
}

/* Each level closes with its own bracket, over the bounds of the bytes that the kinds are kept in. */
static void a_walk_keeps_the_kinds_of_its_levels(void **state)
{
    static const char OPEN[] = "[{\"a\":[[{\"a\":{\"a\":[";
    (void)state;
    for (size_t levels = 1; levels <= 40; levels++) {
        char text[1000] = "[", close[100] = "";
        size_t out = 1, at = 0, n = 0;
        for (; n < levels; n++) {
            char open = OPEN[at];
            out += (size_t)snprintf(text + out, sizeof(text) - out, "%s", open == '{' ? "{\"a\":" : "[");
            at = (at + (open == '{' ? 5 : 1)) % (sizeof(OPEN) - 1);
            close[n] = open == '{' ? '}' : ']';
        }
        text[out++] = '1';
        for (size_t i = n; i-- > 0;) {
            text[out++] = close[i];
        }
        text[out++] = ']';
        assert_null(strchr(walked(text, out), '!'));
        for (size_t wrong = out - 1 - levels; wrong < out; wrong++) {
            text[wrong] ^= ']' ^ '}';
            assert_non_null(strchr(walked(text, out), '!'));
            text[wrong] ^= ']' ^ '}';
        }
    }
}

static void a_reader_goes_on_after_a_fault(void **state)
{
    static const char *const TEXTS[] = {"1", "{\"a\":[1,2]}",        "{\"a\":",          "[[[",  "\"x\"",
                                        "",  "99999999999999999999", "{\"a\\u0000\":1}", "null", "[1e5]"};
    (void)state;
    struct json_reader reader = {0};
    for (size_t i = 0; i < 3 * ARRAY_SIZE(TEXTS); i++) {
        const char *text = TEXTS[i % ARRAY_SIZE(TEXTS)];
        struct json_fault fault = {0};
        JSON_AUTO read = NULL;
        JSON_AUTO parsed = NULL;
        bool ok = json_read(&reader, text, strlen(text), &read, &fault);
        assert_int_equal(ok, json_parse(text, strlen(text), &parsed, &fault));
        assert_true(json_object_equal(read, parsed));
    }
    json_reader_free(&reader);
    json_reader_free(&reader);
}

static void nesting_has_a_limit(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 16];
    struct json_fault fault;
    for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        JSON_AUTO value = NULL;
        memset(text, '[', (size_t)depth);
        text[depth] = '1';
        memset(text + depth + 1, ']', (size_t)depth);
        assert_int_equal(json_parse(text, (size_t)(2 * depth + 1), &value, &fault), depth <= JSON_DEPTH_MAX);
    }
    assert_string_equal(fault.reason, "the nesting is too deep");
    char *deep = mem_alloc(1000000);
    memset(deep, '[', 1000000);
    assert_false(json_scan(deep, 1000000, &fault));
    free(deep);
}

/* However short they are, very many values make no tree; a walk over them makes none anyway. */
static void values_have_a_limit(void **state)
{
    (void)state;
    enum { OBJECTS = JSON_WEIGHT_MAX / 8 }; /* with the list around them, more than the limit */
    char *text = mem_alloc(3 * OBJECTS + 2);
    struct json_fault fault;
    struct json_walk walk;
    size_t count = 0;
    text[0] = '[';
    for (size_t i = 0; i < OBJECTS; i++) {
        memcpy(text + 1 + 3 * i, "{},", 3);
    }
    text[3 * OBJECTS] = ']';
    assert_false(json_scan(text, 3 * OBJECTS + 1, &fault));
    assert_true(fault.too_large);
    json_walk_start(&walk, text, 3 * OBJECTS + 1);
    while (json_walk_next(&walk)) {
        count++;
    }
    assert_null(walk.fault.reason);
    assert_int_equal(count, OBJECTS);
    free(text);
}

static void decimals_keep_their_text(void **state)
{
    static const char *const TEXTS[] = {"0.1",
                                        "0.10",
                                        "1e5",
                                        "1E-7",
                                        "123456789.123456789",
                                        "-0.5",
                                        "9007199254740993",
                                        "18446744073709551615",
                                        "0.30000000000000004"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        JSON_AUTO value = NULL;
        struct json_fault fault;
        size_t length;
        assert_true(json_parse(TEXTS[i], strlen(TEXTS[i]), &value, &fault));
        assert_string_equal(json_text(value, &length), TEXTS[i]);
    }
}

/* json-c alone would clamp these to the bounds of 64 bits. */
static void integers_past_64_bits_keep_their_digits(void **state)
{
    static const char *const CASES[][2] = {
        {"18446744073709551615", "18446744073709551615"},
        {"18446744073709551616", "18446744073709551616.0"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9223372036854775809.0"},
        {"[1,18446744073709551616,2,99999999999999999999999999,3]",
         "[1,18446744073709551616.0,2,99999999999999999999999999.0,3]"},
        {"{\"a\":-100000000000000000000,\"b\":[100000000000000000000]}",
         "{\"a\":-100000000000000000000.0,\"b\":[100000000000000000000.0]}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        JSON_AUTO value = NULL;
        struct json_fault fault;
        size_t length;
        assert_true(json_parse(CASES[i][0], strlen(CASES[i][0]), &value, &fault));
        assert_string_equal(json_text(value, &length), CASES[i][1]);
    }
}

static void what_jsonb_cannot_keep_is_found(void **state)
{
    static const struct {
        const char *text;
        bool parses;
        bool storable;
    } CASES[] = {
        {"{\"a\":[{\"b\":\"x\\u0000y\"}]}", true, false},
        {"\"\\u0000\"", true, false},
        {"{\"a\":\"x\\\\u0000\"}", true, true},
        {"{\"a\\u0000b\":1}", false, true},
        {"{\"a\\\\u0000\":1}", true, true},
        {"{\"x\\u0000\":{\"ok\":1}}", false, true},
        {"[1,null,\"\",1e308,18446744073709551616]", true, true},
        {"[[[1e309]]]", true, false},
        {"{\"a\":-1e999}", true, false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        JSON_AUTO value = NULL;
        struct json_fault fault;
        assert_int_equal(json_parse(CASES[i].text, strlen(CASES[i].text), &value, &fault), CASES[i].parses);
        assert_int_equal(json_unstorable(value) == NULL, CASES[i].storable);
    }
}

static void answers_are_built_compactly(void **state)
{
    (void)state;
    JSON_AUTO object = json_object_new_object();
    size_t length;
    json_add_string(object, "text", "a/b");
    json_add_string(object, "none", NULL);
    json_add_int(object, "int", INT64_C(9007199254740993));
    json_add_number(object, "decimal", "0.30");
    json_add_number(object, "nothing", NULL);
    json_add_time(object, "time", 1500000);
    const char *text = json_text(object, &length);
    assert_string_equal(text, "{\"text\":\"a/b\",\"none\":null,\"int\":9007199254740993,\"decimal\":0.30,"
                              "\"nothing\":null,\"time\":\"1970-01-01T00:00:01.500000Z\"}");
    assert_int_equal(length, strlen(text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_the_rfc_allows),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(refuses_a_text_that_is_cut_anywhere),
        cmocka_unit_test(a_walk_finds_the_elements),
        cmocka_unit_test(a_walk_leaves_the_limits_to_the_elements),
        cmocka_unit_test(a_walk_goes_deeper_than_a_tree),
        cmocka_unit_test(a_walk_keeps_the_kinds_of_its_levels),
        cmocka_unit_test(a_reader_goes_on_after_a_fault),
        cmocka_unit_test(nesting_has_a_limit),
        cmocka_unit_test(values_have_a_limit),
        cmocka_unit_test(decimals_keep_their_text),
        cmocka_unit_test(integers_past_64_bits_keep_their_digits),
        cmocka_unit_test(what_jsonb_cannot_keep_is_found),
        cmocka_unit_test(answers_are_built_compactly),
    };
    return RUN(tests);
}
