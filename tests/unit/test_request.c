/* SPDX-License-Identifier: Apache-2.0 */
/* request, router, response, problem, cors */
#include "test.h"

#include "base/buf.h"
#include "http/cors.h"
#include "http/problem.h"
#include "http/request.h"
#include "http/response.h"
#include "http/router.h"

struct fixture {
    struct arena arena;
    struct config config;
    struct services services;
    struct request request;
    struct response response;
    struct buf body;
};

static void start(struct fixture *fixture, const char *const *environment)
{
    fixture->services.config = &fixture->config;
    request_init(&fixture->request, &fixture->arena, &fixture->services, environment);
    response_init(&fixture->response, &fixture->arena, &fixture->body);
}

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->config.cors_origins = mem_strdup("https://a.example https://b.example:8443");
    buf_init(&fixture->body, 10000);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    arena_free(&fixture->arena);
    buf_free(&fixture->body);
    free(fixture->config.cors_origins);
    free(fixture);
    return 0;
}

static const char *header(const struct response *response, const char *name)
{
    for (size_t i = 0; i < response->headers_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0) {
            return response->headers[i].value;
        }
    }
    return NULL;
}

static void request_reads_its_parameters(void **state)
{
    struct fixture *fixture = *state;
    const char *environment[] = {"REQUEST_METHOD=PUT",
                                 "REQUEST_URI=/a/b?x=1?y",
                                 "REQUEST_ID=abc.D-1_2",
                                 "EMPTY=",
                                 "NAMED=first",
                                 "NAMED=second",
                                 NULL};
    start(fixture, environment);
    const struct request *request = &fixture->request;
    assert_string_equal(request->method, "PUT");
    assert_string_equal(request->path, "/a/b");
    assert_string_equal(request->query, "x=1?y");
    assert_string_equal(request->request_id, "abc.D-1_2");
    assert_string_equal(request_variable(request, "NAMED"), "first");
    assert_null(request_variable(request, "EMPTY"));
    assert_null(request_variable(request, "NAME"));
}

static void request_ids_are_made_when_bad(void **state)
{
    struct fixture *fixture = *state;
    static const char *const BAD[] = {"REQUEST_ID=", "REQUEST_ID=a b", "REQUEST_ID=a\"b",
                                      "REQUEST_ID=\xc3\xa9", "OTHER=1"};
    char longest[200] = "REQUEST_ID=";
    memset(longest + 11, 'x', REQUEST_ID_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        const char *environment[] = {BAD[i], NULL};
        start(fixture, environment);
        assert_int_equal(strlen(fixture->request.request_id), 32);
    }
    const char *environment[] = {longest, NULL};
    start(fixture, environment);
    assert_int_equal(strlen(fixture->request.request_id), REQUEST_ID_MAX);
    longest[11 + REQUEST_ID_MAX] = 'x';
    start(fixture, environment);
    assert_int_equal(strlen(fixture->request.request_id), 32);
}

static void traceparent_is_taken_or_made(void **state)
{
#define ID "4bf92f3577b34da6a3ce929d0e0e4736"
    static const struct {
        const char *given;
        bool taken;
    } CASES[] = {
        {"00-" ID "-00f067aa0ba902b7-01", true},
        {"00-" ID "-00f067aa0ba902b7-00", true},
        {"cc-" ID "-00f067aa0ba902b7-01-later", true},
        {"cc-" ID "-00f067aa0ba902b7-01", true},
        {"00-" ID "-00f067aa0ba902b7-01-more", false},
        {"ff-" ID "-00f067aa0ba902b7-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false},
        {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", false},
        {"00-" ID "-0000000000000000-01", false},
        {"00-" ID "-00f067aa0ba902b7", false},
        {"00-" ID "-00f067aa0ba902b7-0", false},
        {"00-" ID "_00f067aa0ba902b7-01", false},
        {"00-" ID "-00f067aa0ba902b7-0g", false},
        {"cc-" ID "-00f067aa0ba902b7-01.x", false},
        {"", false},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char text[200];
        snprintf(text, sizeof(text), "HTTP_TRACEPARENT=%s", CASES[i].given);
        const char *environment[] = {text, NULL};
        start(fixture, environment);
        const struct request *request = &fixture->request;
        assert_int_equal(strcmp(request->trace.trace_id, ID) == 0, CASES[i].taken);
        assert_int_equal(strlen(request->traceparent), 55);
        assert_memory_equal(request->traceparent + 3, request->trace.trace_id, TRACE_ID_SIZE - 1);
        assert_null(strstr(request->traceparent, "00f067aa0ba902b7")); /* the span is our own */
    }
}

static void escapes_are_decoded(void **state)
{
    static const struct {
        const char *in;
        bool plus;
        const char *out; /* NULL: refused */
    } CASES[] = {
        {"plain", false, "plain"}, {"a%20b", false, "a b"}, {"a+b", false, "a+b"},
        {"a+b", true, "a b"},      {"%2F%2f", false, "//"}, {"%C3%A9", false, "\xc3\xa9"},
        {"%25", false, "%"},       {"", false, ""},         {"%2", false, NULL},
        {"%", false, NULL},        {"%zz", false, NULL},    {"%00", false, NULL},
        {"%C3", false, NULL},      {"%ff", false, NULL},    {"%ed%a0%80", false, NULL},
        {"%c0%af", false, NULL},   {"a%2", false, NULL},    {"%%20", false, NULL},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        size_t length = 999;
        const char *out =
            request_decode(&fixture->arena, CASES[i].in, strlen(CASES[i].in), CASES[i].plus, &length);
        if (!CASES[i].out) {
            assert_null(out);
        } else {
            assert_string_equal(out, CASES[i].out);
            assert_int_equal(length, strlen(CASES[i].out));
        }
    }
}

static void the_query_string_is_cut(void **state)
{
    struct fixture *fixture = *state;
    const char *environment[] = {"REQUEST_URI=/x?a=1&b=&c&&d=%26+e&a=2", NULL};
    start(fixture, environment);
    struct request *request = &fixture->request;
    static const char *const EXPECTED[][2] = {{"a", "1"}, {"b", ""}, {"c", ""}, {"d", "& e"}, {"a", "2"}};
    assert_int_equal(request_parse_query(request), ERR_OK);
    assert_int_equal(request->query_count, ARRAY_SIZE(EXPECTED));
    for (size_t i = 0; i < ARRAY_SIZE(EXPECTED); i++) {
        assert_string_equal(request->query_params[i].name, EXPECTED[i][0]);
        assert_string_equal(request->query_params[i].text, EXPECTED[i][1]);
    }
    const char *broken[] = {"REQUEST_URI=/x?a=%zz", NULL};
    start(fixture, broken);
    assert_int_equal(request_parse_query(&fixture->request), ERR_BAD_REQUEST);

    char many[300] = "REQUEST_URI=/x?";
    for (int i = 0; i <= REQUEST_QUERY_MAX; i++) {
        strcat(many, "a&");
    }
    const char *too_many[] = {many, NULL};
    start(fixture, too_many);
    assert_int_equal(request_parse_query(&fixture->request), ERR_BAD_REQUEST);
}

/* ---- router ---- */

static enum err handler(struct request *request, struct response *response)
{
    (void)request;
    (void)response;
    return ERR_OK;
}

static const struct route TABLE[] = {
    {"GET", "/things", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
    {"POST", "/things", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
    {"GET", "/things/{id:int}", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
    {"DELETE", "/things/{id:int}", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
    {"GET", "/things/me", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
    {"GET", "/users/{name:text}/things/{id:int}", ACCESS_PUBLIC, RATE_NONE, 0, POOL_ANY, 0, 0, handler},
};

static void routes_are_found(void **state)
{
    static const struct {
        const char *method;
        const char *uri;
        enum err e;
        int index;         /* in TABLE, -1: none */
        const char *allow; /* NULL: not asked */
    } CASES[] = {
        {"GET", "/things", ERR_OK, 0, NULL},
        {"HEAD", "/things", ERR_OK, 0, NULL},
        {"POST", "/things?x=%zz", ERR_OK, 1, NULL},
        {"GET", "/api/v1/things", ERR_OK, 0, NULL},
        {"GET", "/api/v1/api/v1/things", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/api/v1things", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/api/v1", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/things/7", ERR_OK, 2, NULL},
        {"GET", "/things/9223372036854775807", ERR_OK, 2, NULL},
        {"GET", "/things/me", ERR_OK, 4, NULL},
        {"GET", "/things/%6de", ERR_OK, 4, NULL},
        {"GET", "/users/a%2Fb/things/3", ERR_OK, 5, NULL},
        {"GET", "/users/%C3%A9/things/3", ERR_OK, 5, NULL},
        {"GET", "/things/9223372036854775808", ERR_INVALID, -1, NULL},
        {"GET", "/things/0", ERR_INVALID, -1, NULL},
        {"GET", "/things/-1", ERR_INVALID, -1, NULL},
        {"GET", "/things/07", ERR_INVALID, -1, NULL},
        {"GET", "/things/7x", ERR_INVALID, -1, NULL},
        {"GET", "/things/", ERR_NOT_FOUND, -1, NULL},
        {"GET", "//things", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/thing", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/Things", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/things/7/8", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/a/b/c/d/e/f/g/h/i/j", ERR_NOT_FOUND, -1, NULL},
        {"GET", "/things/%zz", ERR_BAD_REQUEST, -1, NULL},
        {"GET", "/things/%00", ERR_BAD_REQUEST, -1, NULL},
        {"GET", "/users/%ff/things/1", ERR_BAD_REQUEST, -1, NULL},
        {"PUT", "/things", ERR_METHOD, -1, "POST, GET, HEAD, OPTIONS"},
        {"get", "/things", ERR_METHOD, -1, "POST, GET, HEAD, OPTIONS"},
        {"POST", "/things/7", ERR_METHOD, -1, "DELETE, GET, HEAD, OPTIONS"},
        {"DELETE", "/things/me", ERR_METHOD, -1, "GET, HEAD, OPTIONS"},
        {"OPTIONS", "/things", ERR_OK, -1, "POST, GET, HEAD, OPTIONS"},
        {"OPTIONS", "/nothing", ERR_NOT_FOUND, -1, NULL},
    };
    struct fixture *fixture = *state;
    struct router *router = router_new(TABLE, ARRAY_SIZE(TABLE));
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char method[64], uri[200];
        const char *allow = NULL;
        snprintf(method, sizeof(method), "REQUEST_METHOD=%s", CASES[i].method);
        snprintf(uri, sizeof(uri), "REQUEST_URI=%s", CASES[i].uri);
        const char *environment[] = {method, uri, NULL};
        start(fixture, environment);
        enum err e = router_match(router, &fixture->request, &allow);
        if (e != CASES[i].e) {
            fail_msg("%s %s: %d instead of %d", CASES[i].method, CASES[i].uri, e, CASES[i].e);
        }
        if (CASES[i].index >= 0) {
            assert_ptr_equal(fixture->request.route, &TABLE[CASES[i].index]);
        }
        if (CASES[i].allow) {
            assert_string_equal(allow, CASES[i].allow);
        }
    }
    router_free(router);
}

static void parameters_are_handed_over_decoded(void **state)
{
    struct fixture *fixture = *state;
    struct router *router = router_new(TABLE, ARRAY_SIZE(TABLE));
    const char *allow;
    const char *environment[] = {"REQUEST_METHOD=GET", "REQUEST_URI=/users/a%2Fb+c/things/42", NULL};
    start(fixture, environment);
    assert_int_equal(router_match(router, &fixture->request, &allow), ERR_OK);
    assert_string_equal(request_param(&fixture->request, "name"), "a/b+c");
    assert_int_equal(request_param_int(&fixture->request, "id"), 42);

    char uri[400] = "REQUEST_URI=/users/";
    size_t start_at = strlen(uri);
    for (size_t n = 255; n <= 256; n++) {
        memset(uri + start_at, 'x', n);
        strcpy(uri + start_at + n, "/things/1");
        const char *long_name[] = {"REQUEST_METHOD=GET", uri, NULL};
        start(fixture, long_name);
        assert_int_equal(router_match(router, &fixture->request, &allow), n == 255 ? ERR_OK : ERR_INVALID);
    }
    router_free(router);
}

/* ---- answers ---- */

static void a_header_cannot_split_the_answer(void **state)
{
    struct fixture *fixture = *state;
    const char *environment[] = {NULL};
    start(fixture, environment);
    response_header(&fixture->response, "X-Good", "value with \"quotes\"");
    response_header(&fixture->response, "X-Split", "a\r\nSet-Cookie: b");
    response_header(&fixture->response, "X-Line", "a\nb");
    response_header(&fixture->response, "X-Delete", "a\x7f");
    assert_string_equal(header(&fixture->response, "X-Good"), "value with \"quotes\"");
    assert_int_equal(fixture->response.headers_count, 1);
}

static void problems_have_the_shape_of_rfc_9457(void **state)
{
    struct fixture *fixture = *state;
    struct problem problem = {.arena = &fixture->arena};
    struct json_object *json = problem_json(&problem, ERR_NOT_FOUND, "rid");
    assert_string_equal(
        json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
        "{\"type\":\"/problems/not-found\",\"title\":\"Not found\",\"status\":404,"
        "\"detail\":\"There is nothing here.\",\"request_id\":\"rid\"}");
    json_object_put(json);

    assert_int_equal(problem_field(&problem, "a.b", "type", "must be %d", 1), ERR_INVALID);
    json = problem_json(&problem, ERR_INVALID, "rid");
    assert_non_null(strstr(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN),
                           "\"errors\":[{\"field\":\"a.b\",\"code\":\"type\",\"message\":\"must be 1\"}]"));
    json_object_put(json);

    for (int i = 0; i < 1000; i++) {
        problem_field(&problem, "x", "type", "wrong");
    }
    json = problem_fields_json(&problem);
    assert_int_equal(json_object_array_length(json), PROBLEM_FIELDS_MAX);
    json_object_put(json);
    assert_int_equal(problem.count, 1001);
}

static void origins_are_compared_byte_for_byte(void **state)
{
    static const struct {
        const char *origin;
        bool allowed;
    } CASES[] = {
        {"https://a.example", true},
        {"https://b.example:8443", true},
        {"https://a.example:443", false},
        {"http://a.example", false},
        {"https://A.example", false},
        {"https://a.example.evil", false},
        {"https://b.example", false},
        {"null", false},
        {"https://a.example https://b.example:8443", false},
        {"https://a.exampl", false},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char text[200];
        snprintf(text, sizeof(text), "HTTP_ORIGIN=%s", CASES[i].origin);
        const char *environment[] = {text, "HTTP_ACCESS_CONTROL_REQUEST_METHOD=POST", NULL};
        start(fixture, environment);
        cors_preflight(&fixture->request, &fixture->response, "POST, OPTIONS");
        cors_headers(&fixture->request, &fixture->response);
        const char *allowed = header(&fixture->response, "Access-Control-Allow-Origin");
        assert_int_equal(allowed != NULL, CASES[i].allowed);
        assert_int_equal(header(&fixture->response, "Access-Control-Allow-Methods") != NULL,
                         CASES[i].allowed);
        assert_string_equal(header(&fixture->response, "Vary"), "Origin");
        assert_int_equal(fixture->response.status, 204);
    }
    fixture->config.cors_origins[0] = '\0'; /* none configured: no trace of CORS at all */
    const char *environment[] = {"HTTP_ORIGIN=https://a.example", NULL};
    start(fixture, environment);
    cors_headers(&fixture->request, &fixture->response);
    assert_int_equal(fixture->response.headers_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(request_reads_its_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(request_ids_are_made_when_bad, set_up, tear_down),
        cmocka_unit_test_setup_teardown(traceparent_is_taken_or_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(escapes_are_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_query_string_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(routes_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parameters_are_handed_over_decoded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_header_cannot_split_the_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(problems_have_the_shape_of_rfc_9457, set_up, tear_down),
        cmocka_unit_test_setup_teardown(origins_are_compared_byte_for_byte, set_up, tear_down),
    };
    return RUN(tests);
}
