/* SPDX-License-Identifier: Apache-2.0 */
/* etag */
#include "test.h"

#include "http/etag.h"

struct fixture {
    struct arena arena;
    struct config config;
    struct services services;
    struct request request;
    struct response response;
    struct buf body;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->services.config = &fixture->config;
    buf_init(&fixture->body, 10000);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    arena_free(&fixture->arena);
    buf_free(&fixture->body);
    free(fixture);
    return 0;
}

/* Answer `text` to a request with this If-None-Match (NULL: none). */
static struct response *answer(struct fixture *fixture, const char *text, const char *if_none_match)
{
    struct response *response = &fixture->response;
    const char *header =
        arena_printf(&fixture->arena, "HTTP_IF_NONE_MATCH=%s", if_none_match ? if_none_match : "");
    const char *environment[] = {header, NULL};
    request_init(&fixture->request, &fixture->arena, &fixture->services, environment);
    response_init(response, &fixture->arena, &fixture->body);
    buf_puts(response->body, text);
    response->status = 200;
    response->content_type = "application/json";
    etag_apply(&fixture->request, response);
    return response;
}

static const char *header(const struct response *response, const char *name)
{
    const char *found = NULL;
    for (size_t i = 0; i < response->headers_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0) {
            assert_null(found); /* once */
            found = response->headers[i].value;
        }
    }
    return found;
}

static void lists_are_compared_weakly(void **state)
{
    static const struct {
        const char *if_none_match;
        bool matches; /* W/"abc" */
    } CASES[] = {
        {"W/\"abc\"", true},
        {"\"abc\"", true},
        {"*", true},
        {" * ", true},
        {"\"x\", W/\"abc\"", true},
        {"\"x\",\"abc\",\"y\"", true},
        {" , ,\t\"x\" , \"abc\"", true},
        {"\"a,b\", \"abc\"", true},
        {"\"abc\" rubbish", true},
        {"\"\", \"abc\"", true},
        {"", false},
        {" ", false},
        {",", false},
        {"abc", false},
        {"\"abc", false},
        {"abc\"", false},
        {"\"abcd\"", false},
        {"\"ab\"", false},
        {"\"ABC\"", false},
        {"w/\"abc\"", false},
        {"W/ \"abc\"", false},
        {"W/abc", false},
        {"W/W/\"abc\"", false},
        {"**", false},
        {"*, \"x\"", false},
        {"\"x\" \"abc\"", false},
        {"\"x\"; \"abc\"", false},
        {"'abc'", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        if (etag_matches(CASES[i].if_none_match, "W/\"abc\"") != CASES[i].matches) {
            fail_msg("If-None-Match: %s", CASES[i].if_none_match);
        }
    }
}

static void a_first_answer_is_whole(void **state)
{
    struct fixture *fixture = *state;
    const struct response *response = answer(fixture, "{}\n", NULL);
    assert_int_equal(response->status, 200);
    assert_string_equal(buf_text(response->body), "{}\n");
    assert_string_equal(header(response, "Cache-Control"), "private, no-cache");
    assert_string_equal(header(response, "Vary"), "Authorization");
    /* 16 bytes of the SHA-256 of `{}` and a newline */
    assert_string_equal(header(response, "ETag"), "W/\"yj0WO6sFU4GCciYUBWjzvg\"");
}

static void the_tag_follows_the_body(void **state)
{
    struct fixture *fixture = *state;
    char first[64];
    snprintf(first, sizeof(first), "%s", header(answer(fixture, "{\"n\":1}", NULL), "ETag"));
    assert_string_equal(header(answer(fixture, "{\"n\":1}", NULL), "ETag"), first);
    assert_string_not_equal(header(answer(fixture, "{\"n\":2}", NULL), "ETag"), first);

    const struct response *response = answer(fixture, "{\"n\":1}", first);
    assert_int_equal(response->status, 304);
    assert_null(response->content_type);
    assert_int_equal(response->body->length, 0);
    assert_string_equal(header(response, "ETag"), first);
    assert_string_equal(header(response, "Cache-Control"), "private, no-cache");
    assert_string_equal(header(response, "Vary"), "Authorization, Accept-Encoding");
    assert_int_equal(answer(fixture, "{\"n\":2}", first)->status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_compared_weakly),
        cmocka_unit_test_setup_teardown(a_first_answer_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_tag_follows_the_body, set_up, tear_down),
    };
    return RUN(tests);
}
