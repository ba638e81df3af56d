/* SPDX-License-Identifier: Apache-2.0 */
/* sparse */
#include "test.h"

#include "base/json.h"
#include "http/sparse.h"

static const char ANSWER[] =
    "{\"days\":7,\"total\":12345678901234567890.50,\"next\":null,\"empty\":[],\"none\":{},"
    "\"change\":{\"cost\":{\"previous\":1,\"percent\":null},\"users\":{\"previous\":2}},"
    "\"items\":[{\"id\":\"a\",\"n\":1,\"by\":[{\"d\":1,\"e\":2}]},{\"id\":\"b\",\"n\":2,\"by\":[]}],"
    "\"grid\":[[{\"x\":1,\"y\":2}],[]],\"flags\":[true,false]}";

struct outcome {
    enum err e;
    char text[1000];
    char unknown[1000]; /* messages, each with a newline */
};

static struct outcome apply(const char *answer_text, const char *fields)
{
    struct arena arena = {0};
    struct problem problem = {.arena = &arena};
    struct outcome outcome = {.text = ""};
    const struct json_span answer = {answer_text, strlen(answer_text)};
    struct buf out;
    size_t told = 0;
    buf_init(&out, sizeof(outcome.text) - 1);
    outcome.e = sparse_apply(&problem, fields, &answer, &out);
    snprintf(outcome.text, sizeof(outcome.text), "%s", buf_text(&out));
    buf_free(&out);
    for (const struct problem_field *field = problem.first; field; field = field->next) {
        assert_string_equal(field->field, "fields");
        told += (size_t)snprintf(outcome.unknown + told, sizeof(outcome.unknown) - told, "%s: %s\n",
                                 field->code, field->message);
    }
    arena_free(&arena);
    return outcome;
}

static void what_is_named_is_kept(void **state)
{
    static const struct {
        const char *fields;
        const char *kept;
    } CASES[] = {
        {"days", "{\"days\":7}"},
        {"days,total", "{\"days\":7,\"total\":12345678901234567890.50}"},
        {"total,days,days", "{\"days\":7,\"total\":12345678901234567890.50}"},
        {"next", "{\"next\":null}"},
        {"none,empty", "{\"empty\":[],\"none\":{}}"},
        {"flags", "{\"flags\":[true,false]}"},
        {"change.cost.previous", "{\"change\":{\"cost\":{\"previous\":1}}}"},
        {"change.users,change.cost.percent",
         "{\"change\":{\"cost\":{\"percent\":null},\"users\":{\"previous\":2}}}"},
        {"change.cost", "{\"change\":{\"cost\":{\"previous\":1,\"percent\":null}}}"},
        {"items.id", "{\"items\":[{\"id\":\"a\"},{\"id\":\"b\"}]}"},
        {"items.id,days,items.n", "{\"days\":7,\"items\":[{\"id\":\"a\",\"n\":1},{\"id\":\"b\",\"n\":2}]}"},
        {"items.by.d", "{\"items\":[{\"by\":[{\"d\":1}]},{\"by\":[]}]}"},
        {"grid.x", "{\"grid\":[[{\"x\":1}],[]]}"},
        /* the whole and a part of it is the whole, in either order */
        {"change.cost.percent,change.cost", "{\"change\":{\"cost\":{\"previous\":1,\"percent\":null}}}"},
        {"change.cost,change.cost.percent", "{\"change\":{\"cost\":{\"previous\":1,\"percent\":null}}}"},
        /* nothing is there to tell */
        {"empty.anything.at.all", "{\"empty\":[]}"},
        {"next.anything", "{\"next\":null}"},
        {"change.cost.percent.x", "{\"change\":{\"cost\":{\"percent\":null}}}"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct outcome outcome = apply(ANSWER, CASES[i].fields);
        assert_string_equal(outcome.unknown, "");
        assert_int_equal(outcome.e, ERR_OK);
        assert_string_equal(outcome.text, CASES[i].kept);
    }
}

static void what_is_not_there_is_told(void **state)
{
    static const struct {
        const char *fields;
        const char *unknown;
    } CASES[] = {
        {"nope", "unknown_field: the answer has no nope\n"},
        {"day", "unknown_field: the answer has no day\n"},
        {"Days", "unknown_field: the answer has no Days\n"},
        {"days.x", "unknown_field: the answer has no days.x\n"},
        {"flags.x", "unknown_field: the answer has no flags.x\n"},
        {"none.x", "unknown_field: the answer has no none.x\n"},
        {"days,items.nope", "unknown_field: the answer has no items.nope\n"},
        {"items.by.nope", "unknown_field: the answer has no items.by.nope\n"},
        {"nope.deeper", "unknown_field: the answer has no nope\n"},
        {"a,days,b.c,a,change.d", "unknown_field: the answer has no a\nunknown_field: the answer has no b\n"
                                  "unknown_field: the answer has no change.d\n"},
        {"change,change.nope", "unknown_field: the answer has no change.nope\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct outcome outcome = apply(ANSWER, CASES[i].fields);
        assert_int_equal(outcome.e, ERR_INVALID);
        assert_string_equal(outcome.unknown, CASES[i].unknown);
    }
}

static void one_element_that_has_it_is_enough(void **state)
{
    (void)state;
    struct outcome outcome = apply("[{\"a\":1},{\"b\":2},null,7]", "b");
    assert_int_equal(outcome.e, ERR_OK);
    assert_string_equal(outcome.text, "[{},{\"b\":2},null,7]");
}

static void names_in_metadata_are_the_clients(void **state)
{
    (void)state;
    struct outcome outcome =
        apply("{\"items\":[{\"id\":1,\"metadata\":{\"n\":1}}]}", "items.id,items.metadata.region");
    assert_int_equal(outcome.e, ERR_OK);
    assert_string_equal(outcome.text, "{\"items\":[{\"id\":1,\"metadata\":{}}]}");
    outcome = apply("{\"items\":[{\"id\":1,\"metadata\":{\"n\":1}}]}", "items.nope");
    assert_int_equal(outcome.e, ERR_INVALID);
}

static void what_is_kept_is_copied_as_it_stands(void **state)
{
    (void)state;
    struct outcome outcome = apply("{\"a\": { \"b\" : 1.50e+2,\"c\":0 } , \"d\":[ 1, \"x,}]\" ]}", "a.b,d");
    assert_int_equal(outcome.e, ERR_OK);
    assert_string_equal(outcome.text, "{\"a\":{\"b\":1.50e+2},\"d\":[ 1, \"x,}]\" ]}");
}

static void lists_are_checked(void **state)
{
    static const char *const GOOD[] = {"a", "a.b", "a,b", "a.b.c.d", "A_9.z,_", "0"};
    static const char *const BAD[] = {"",    ",",    ".",         "a,",       ",a",  "a..b", "a.",
                                      ".a",  "a b",  "a, b",      "a-b",      "a*",  "a[0]", "a/b",
                                      "a;b", "a.,b", "a.b.c.d.e", "\xc3\xa4", "a\n", "\"a\""};
    char text[SPARSE_TEXT_MAX];
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(GOOD); i++) {
        assert_null(sparse_check(GOOD[i], strlen(GOOD[i])));
    }
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        assert_non_null(sparse_check(BAD[i], strlen(BAD[i])));
        struct outcome outcome = apply(ANSWER, BAD[i]);
        assert_int_equal(outcome.e, ERR_INVALID);
        assert_memory_equal(outcome.unknown, "format: ", 8);
    }
    memset(text, 'a', SPARSE_NAME_MAX);
    text[SPARSE_NAME_MAX] = '\0';
    assert_null(sparse_check(text, strlen(text)));
    strcat(text, "a");
    assert_non_null(sparse_check(text, strlen(text)));
    text[0] = '\0';
    for (int i = 0; i < SPARSE_PATHS_MAX; i++) {
        strcat(text, i ? ",a.b.c.d" : "a.b.c.d");
    }
    assert_null(sparse_check(text, strlen(text)));
    strcat(text, ",a");
    assert_non_null(sparse_check(text, strlen(text)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_named_is_kept),
        cmocka_unit_test(what_is_not_there_is_told),
        cmocka_unit_test(one_element_that_has_it_is_enough),
        cmocka_unit_test(names_in_metadata_are_the_clients),
        cmocka_unit_test(what_is_kept_is_copied_as_it_stands),
        cmocka_unit_test(lists_are_checked),
    };
    return RUN(tests);
}
