/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bounded fuzzing: a fixed seed, a fixed number of mutations of a few texts, so that each run is
 * the same. What is claimed: whatever the scanner lets through json-c parses and prints as text that
 * the scanner lets through again; what a walk finds in a list or object is what json-c finds there; and
 * no parser at the door reads outside of what it was given, which the sanitizers watch.
 */
#include "../unit/test.h"

#include "analytics/place.h"
#include "base/clock.h"
#include "base/json.h"
#include "http/request.h"
#include "http/validate.h"
#include "identity/token.h"

enum { ROUNDS = 30000, TEXT_MAX = 600 };

static const char *const SEEDS[] = {
    "{\"type\":\"api_call\",\"value\":1.5e3,\"user_id\":\"u\\u00e9\",\"metadata\":{\"a\":[1,2,{\"b\":null}]}}",
    "[{\"id\":\"a\",\"a\":1},{\"id\":\"\\ud800\"},[[]],\"x\",1e3,{}]",
    "[true,false,null,-0.0,18446744073709551615,\"\\ud834\\udd1e\",\"\\\\\\\"\"]",
    "2026-01-31T23:59:59.123456+01:00",
    "ann.b+c@example-x.co.uk",
    "a=1&b=%20%C3%A9&c=+&&d",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiI3In0.AAAA",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "MTc5NTE4NDAwMDAwMDAwMDpldnQtMDAwMTYwMDAwMA",
};

static uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t next_random(void)
{
    seed ^= seed << 13; /* xorshift64 */
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Change a few bytes, or cut, or repeat a piece, preferring the characters of the grammars. */
static size_t mutate(char *text, size_t length)
{
    static const char ALPHABET[] = "{}[]\",:\\u0e+-.%&=TZ@ \n\t1290abtfn\xc3\xa9\xff\x80\xed\xf4";
    size_t changes = next_random() % 4;
    for (size_t i = 0; i <= changes && length > 0; i++) {
        size_t at = next_random() % length;
        switch (next_random() % 4) {
        case 0:
            text[at] = ALPHABET[next_random() % (sizeof(ALPHABET) - 1)];
            break;
        case 1:
            text[at] = (char)(next_random() & 0xff);
            break;
        case 2:
            memmove(text + at, text + at + 1, length - at - 1);
            length--;
            break;
        default:
            if (length < TEXT_MAX) {
                memmove(text + at + 1, text + at, length - at);
                text[at] = ALPHABET[next_random() % (sizeof(ALPHABET) - 1)];
                length++;
            }
        }
    }
    return length;
}

static unsigned scanned, walked;

/* Texts of which the walk holds that they are JSON json-c must not refuse, but for the depth. */
static struct json_object *read_freely(const char *text, size_t length)
{
    struct json_tokener *tokener = json_tokener_new_ex(TEXT_MAX + 2);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    struct json_object *value = json_tokener_parse_ex(tokener, text, (int)length);
    if (json_tokener_get_error(tokener) == json_tokener_continue) {
        value = json_tokener_parse_ex(tokener, " ", 1); /* the end of a word or number */
    }
    assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
    json_tokener_free(tokener);
    return value;
}

/* The element of `tree` that the walk stands at. Of a repeated name only the last value is in the tree. */
static struct json_object *element_of(struct json_object *tree, const struct json_walk *walk, size_t index)
{
    if (walk->kind == '[') {
        return json_object_array_get_idx(tree, index);
    }
    JSON_AUTO name = read_freely(walk->name.text, walk->name.length);
    return json_object_object_get(tree, json_object_get_string(name));
}

/* What a walk finds is what json-c sees, element by element. */
static void try_walk(const char *text, size_t length)
{
    struct json_walk walk;
    struct json_fault fault;
    bool scans = json_scan(text, length, &fault);
    size_t count = 0, same = 0;

    json_walk_start(&walk, text, length);
    while (json_walk_next(&walk)) {
        assert_true(walk.value.text >= text && walk.value.text + walk.value.length <= text + length);
        count++;
    }
    assert_true(!scans || !walk.fault.reason);
    if (walk.fault.reason || !walk.kind) {
        return;
    }
    walked++;
    JSON_AUTO tree = read_freely(text, length);
    json_walk_start(&walk, text, length);
    for (size_t i = 0; json_walk_next(&walk); i++) {
        JSON_AUTO element = read_freely(walk.value.text, walk.value.length);
        same += (size_t)json_object_equal(element, element_of(tree, &walk, i));
    }
    if (walk.kind == '[') {
        assert_int_equal(count, json_object_array_length(tree));
        assert_int_equal(same, count);
    } else {
        assert_true(same >= (size_t)json_object_object_length(tree) && same <= count);
    }
}

static void try_json(const char *text, size_t length)
{
    struct json_fault fault;
    JSON_AUTO value = NULL;
    JSON_AUTO again = NULL;
    if (!json_scan(text, length, &fault)) {
        return;
    }
    scanned++;
    if (!json_parse(text, length, &value, &fault)) {
        assert_string_equal(fault.reason, "a name holds U+0000");
        return;
    }
    size_t printed_length;
    const char *printed = json_text(value, &printed_length);
    if (!json_parse(printed, printed_length, &again, &fault)) {
        fail_msg("%.*s prints as %s, which is refused: %s", (int)length, text, printed, fault.reason);
    }
    assert_true(json_object_equal(value, again));
}

static void try_others(struct arena *arena, const char *text, size_t length, struct keyring *keyring,
                       const struct config *config)
{
    int64_t us;
    char shown[CLOCK_TEXT_SIZE];
    if (clock_parse(text, length, &us)) {
        int64_t back;
        clock_format(us, shown);
        assert_true(clock_parse(shown, strlen(shown), &back));
        assert_int_equal(us, back);
    }
    char *copy = arena_strndup(arena, text, length);
    if (strlen(copy) == length) {
        struct token_claims claims;
        const char *reason;
        (void)validate_email(copy, length);
        struct request request = {.arena = arena, .problem = {.arena = arena}, .query = copy};
        (void)request_parse_query(&request);
        struct place place;
        if (place_from_cursor(copy, length, &place)) {
            struct buf cursor;
            buf_init(&cursor, PLACE_CURSOR_MAX);
            place_put_cursor(&place, &cursor);
            assert_true(place.us >= 0 && *place.id && !cursor.overflow);
            buf_free(&cursor);
        }
        assert_int_not_equal(token_verify(keyring, config, copy, 1, &claims, &reason), ERR_OK);
        char *variable = arena_printf(arena, "HTTP_TRACEPARENT=%s", copy);
        const char *environment[] = {variable, NULL};
        request_init(&request, arena, NULL, environment);
        assert_int_equal(strlen(request.traceparent), 55);
    }
}

static void mutations_break_no_claim(void **state)
{
    (void)state;
    const struct config config = {.issuer = (char[]){"i"}, .audience = (char[]){"a"}};
    struct arena arena = {0};
    struct keyring *keyring = keyring_new(&config, true);
    assert_int_equal(keyring_make(keyring), ERR_OK);
    for (int round = 0; round < ROUNDS; round++) {
        const char *from = SEEDS[next_random() % ARRAY_SIZE(SEEDS)];
        char text[TEXT_MAX + 8];
        size_t length = strlen(from);
        memcpy(text, from, length);
        length = mutate(text, length);
        char *exact = mem_alloc(length); /* so that a read past the end is seen */
        memcpy(exact, text, length);
        try_json(exact, length);
        try_walk(exact, length);
        try_others(&arena, exact, length, keyring, &config);
        free(exact);
        arena_reset(&arena);
    }
    assert_true(scanned > ROUNDS / 50); /* enough of them were still JSON */
    assert_true(walked > ROUNDS / 50);
    keyring_free(keyring);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutations_break_no_claim),
    };
    return RUN(tests);
}
