/* SPDX-License-Identifier: Apache-2.0 */
/* answer, without Redis; tests/drivers has it with one */
#include "test.h"

#include "analytics/answer.h"
#include "base/cache.h"
#include "base/clock.h"
#include "base/json.h"

enum { ROOM = 1024 * 1024 };

struct fixture {
    struct arena arena;
    struct config config;
    struct metrics metrics;
    struct services services;
    struct request request;
    struct response response;
    struct buf body;
    const char *environment[2];
    int built; /* how many answers were made */
    enum err fails;
    size_t padding;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->config.cache_unfinished_ms = 1000;
    fixture->services = (struct services){.config = &fixture->config,
                                          .metrics = &fixture->metrics,
                                          .redis = redis_new("", 100),
                                          .cache = cache_new(ROOM)};
    buf_init(&fixture->body, 2 * ROOM);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    redis_free(fixture->services.redis);
    cache_free(fixture->services.cache);
    arena_free(&fixture->arena);
    buf_free(&fixture->body);
    free(fixture);
    return 0;
}

static void start(struct fixture *fixture, int64_t workspace_id, const char *cache_control)
{
    fixture->environment[0] =
        cache_control ? arena_printf(&fixture->arena, "HTTP_CACHE_CONTROL=%s", cache_control) : NULL;
    request_init(&fixture->request, &fixture->arena, &fixture->services, fixture->environment);
    response_init(&fixture->response, &fixture->arena, &fixture->body);
    fixture->request.principal.workspace_id = workspace_id;
}

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    struct fixture *fixture = argument;
    (void)request;
    if (fixture->fails) {
        return fixture->fails;
    }
    struct json_object *answer = json_object_new_object();
    json_add_int(answer, "built", ++fixture->built);
    json_add_string(answer, "padding", arena_printf(&fixture->arena, "%0*d", (int)fixture->padding, 0));
    json_add_number(answer, "wide", "12345678901234567890123");
    *ret_answer = answer;
    return ERR_OK;
}

struct ask {
    int64_t workspace_id;
    bool finished;
    int64_t version;
    const char *user_id;
    const char *fields;
    const char *cache_control;
};

/* As if the database had just been asked how many events came late. */
static void know_version(struct fixture *fixture, int64_t version)
{
    enum { KEPT_MS = 60000 };
    struct answer_key key;
    char text[24];
    int length = snprintf(text, sizeof(text), "%lld", (long long)version);
    answer_key_init(&key, &fixture->request, "late");
    cache_put(fixture->services.cache, key.text, strlen(key.text), text, (size_t)length, KEPT_MS);
}

static enum err ask(struct fixture *fixture, const struct ask *ask)
{
    struct answer_key key;
    start(fixture, ask->workspace_id, ask->cache_control);
    answer_key_init(&key, &fixture->request, "usage");
    answer_key_text(&key, "user_id", ask->user_id);
    know_version(fixture, ask->version);
    struct answer_question question = {
        .key = &key, .finished = ask->finished, .build = build, .argument = fixture, .fields = ask->fields};
    return answer_cached(&fixture->request, &fixture->response, &question);
}

static const char *cache_status(const struct fixture *fixture)
{
    for (size_t i = 0; i < fixture->response.headers_count; i++) {
        if (strcmp(fixture->response.headers[i].name, "Cache-Status") == 0) {
            return fixture->response.headers[i].value;
        }
    }
    return NULL;
}

/* Which of the answers that were made this one is. */
static int asked(struct fixture *fixture, const struct ask *question, const char *status)
{
    int number;
    assert_int_equal(ask(fixture, question), ERR_OK);
    assert_int_equal(fixture->response.status, 200);
    assert_string_equal(fixture->response.content_type, "application/json");
    assert_string_equal(cache_status(fixture), status);
    assert_int_equal(sscanf(buf_text(&fixture->body), "{\"built\":%d", &number), 1);
    return number;
}

#define HIT  "tallygate; hit"
#define MISS "tallygate; fwd=miss"

/* ---- keys ---- */

static void keys_spell_out_the_question(void **state)
{
    struct fixture *fixture = *state;
    struct answer_key key;
    start(fixture, 7, NULL);
    answer_key_init(&key, &fixture->request, "summary");
    answer_key_text(&key, "start", "2026-01-01");
    answer_key_int(&key, "days", 30);
    answer_key_text(&key, "type", NULL);
    answer_key_text(&key, "empty", "");
    assert_string_equal(key.text, "summary|ws=7|start=10:2026-01-01|days=30|type=|empty=0:");
}

/* Values that look like the rest of a key. */
static void no_two_questions_have_one_key(void **state)
{
    static const char *const VALUES[] = {
        NULL, "", "a", "a|b=1:c", "|b=", "1:a", "0:", "a|b=", "=", "#7", "a#7", "|", "a|b=0:", "a|b=0:|b=",
    };
    enum { COUNT = ARRAY_SIZE(VALUES) };
    struct fixture *fixture = *state;
    const char *texts[COUNT * COUNT];
    start(fixture, 1, NULL);
    for (size_t i = 0; i < COUNT * COUNT; i++) {
        struct answer_key key;
        answer_key_init(&key, &fixture->request, "r");
        answer_key_text(&key, "a", VALUES[i / COUNT]);
        answer_key_text(&key, "b", VALUES[i % COUNT]);
        texts[i] = key.text;
        for (size_t before = 0; before < i; before++) {
            assert_string_not_equal(texts[before], texts[i]);
        }
    }
}

static void a_period_is_over_an_hour_after_its_end(void **state)
{
    enum { HOUR_S = 3600, MARGIN_S = 5 };
    (void)state;
    int64_t now_us = clock_now_us();
    assert_true(period_is_over(&(struct period){.end_us = now_us - HOUR_S * USEC_PER_SEC}));
    assert_false(period_is_over(&(struct period){.end_us = now_us - (HOUR_S - MARGIN_S) * USEC_PER_SEC}));
    assert_false(period_is_over(&(struct period){.end_us = now_us + USEC_PER_DAY}));
}

/* ---- answers ---- */

static void an_answer_is_made_once(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1, .finished = true, .user_id = "u"};
    assert_int_equal(asked(fixture, &question, MISS), 1);
    assert_int_equal(asked(fixture, &question, HIT), 1);
    assert_int_equal(asked(fixture, &question, HIT), 1);
    assert_string_equal(buf_text(&fixture->body),
                        "{\"built\":1,\"padding\":\"0\",\"wide\":12345678901234567890123}\n");
    assert_int_equal(fixture->metrics.answer_cache_hits_process, 2);
    assert_int_equal(fixture->metrics.answer_cache_hits_redis, 0);
    assert_int_equal(fixture->metrics.answer_cache_misses, 1);
}

static void each_question_has_its_own(void **state)
{
    struct fixture *fixture = *state;
    const struct ask questions[] = {
        {.workspace_id = 1, .finished = true, .user_id = "u"},
        {.workspace_id = 2, .finished = true, .user_id = "u"},
        {.workspace_id = 1, .finished = true, .user_id = "v"},
        {.workspace_id = 1, .finished = true, .user_id = "u", .version = 1},
        {.workspace_id = 1, .finished = true, .user_id = "u#1"},
        {.workspace_id = 11, .finished = true, .user_id = "u"},
        {.workspace_id = 1, .finished = false, .user_id = "u"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
        assert_int_equal(asked(fixture, &questions[i], MISS), (int)i + 1);
    }
    for (size_t i = 0; i < ARRAY_SIZE(questions) - 1; i++) {
        assert_int_equal(asked(fixture, &questions[i], HIT), (int)i + 1);
    }
}

static void an_unfinished_period_is_kept_for_a_moment(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1};
    fixture->config.cache_unfinished_ms = 50;
    int64_t start_us = clock_monotonic_us();
    assert_int_equal(ask(fixture, &question), ERR_OK);
    while (fixture->built == 1) {
        assert_int_equal(ask(fixture, &question), ERR_OK);
        assert_true(clock_monotonic_us() - start_us < 30 * USEC_PER_SEC);
    }
    assert_true(clock_monotonic_us() - start_us >= 49 * 1000);
    assert_true(fixture->metrics.answer_cache_hits_process > 0);
}

static void nothing_is_kept_when_it_is_off(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1};
    fixture->config.cache_unfinished_ms = 0;
    assert_int_equal(asked(fixture, &question, "tallygate; fwd=bypass"), 1);
    assert_int_equal(asked(fixture, &question, "tallygate; fwd=bypass"), 2);
    question.finished = true; /* which it does not switch off */
    assert_int_equal(asked(fixture, &question, MISS), 3);
    assert_int_equal(asked(fixture, &question, HIT), 3);
}

static void a_client_can_ask_for_a_new_one(void **state)
{
    static const char *const NEW[] = {"no-cache",   "no-store",     "No-Cache", "max-age=0, no-cache",
                                      "no-store,x", " , no-store ,"};
    static const char *const OLD[] = {"",        "max-age=0",  "no-cached",      "no-transform",
                                      "no-cach", "x=no-cache", "only-if-cached", ","};
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1, .finished = true};
    int made = asked(fixture, &question, MISS);
    for (size_t i = 0; i < ARRAY_SIZE(NEW); i++) {
        question.cache_control = NEW[i];
        assert_int_equal(asked(fixture, &question, "tallygate; fwd=request"), ++made);
        question.cache_control = NULL;
        assert_int_equal(asked(fixture, &question, HIT), made); /* the new one is kept */
    }
    for (size_t i = 0; i < ARRAY_SIZE(OLD); i++) {
        question.cache_control = OLD[i];
        assert_int_equal(asked(fixture, &question, HIT), made);
    }
}

static void failures_are_not_kept(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1, .finished = true};
    fixture->fails = ERR_UNAVAILABLE;
    assert_int_equal(ask(fixture, &question), ERR_UNAVAILABLE);
    assert_null(cache_status(fixture));
    fixture->fails = ERR_OK;
    assert_int_equal(asked(fixture, &question, MISS), 1);
}

static void an_answer_that_is_too_large_is_not_kept(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1, .finished = true, .fields = "built"};
    fixture->padding = 3 * ROOM;
    assert_int_equal(ask(fixture, &question), ERR_INVALID);
    fixture->padding = ROOM;
    assert_int_equal(asked(fixture, &question, MISS), 2);
    assert_int_equal(asked(fixture, &question, MISS), 3);
}

static void fields_are_taken_of_the_whole(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1, .finished = true, .fields = "built,wide"};
    char first[200];
    assert_int_equal(asked(fixture, &question, MISS), 1);
    snprintf(first, sizeof(first), "%s", buf_text(&fixture->body));
    assert_null(strstr(first, "padding"));
    assert_int_equal(asked(fixture, &question, HIT), 1);
    assert_string_equal(buf_text(&fixture->body), first); /* also in how numbers are written */
    question.fields = NULL;
    assert_int_equal(asked(fixture, &question, HIT), 1);
    assert_non_null(strstr(buf_text(&fixture->body), "padding"));
    question.fields = "nope";
    assert_int_equal(ask(fixture, &question), ERR_INVALID);
    assert_string_equal(fixture->request.problem.first->code, "unknown_field");
}

static void without_a_cache_it_works(void **state)
{
    struct fixture *fixture = *state;
    struct ask question = {.workspace_id = 1};
    fixture->config.cache_unfinished_ms = 1000;
    cache_free(fixture->services.cache);
    fixture->services.cache = NULL;
    assert_int_equal(asked(fixture, &question, MISS), 1);
    assert_int_equal(asked(fixture, &question, MISS), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(keys_spell_out_the_question),
        TEST(no_two_questions_have_one_key),
        TEST(a_period_is_over_an_hour_after_its_end),
        TEST(an_answer_is_made_once),
        TEST(each_question_has_its_own),
        TEST(an_unfinished_period_is_kept_for_a_moment),
        TEST(nothing_is_kept_when_it_is_off),
        TEST(a_client_can_ask_for_a_new_one),
        TEST(failures_are_not_kept),
        TEST(an_answer_that_is_too_large_is_not_kept),
        TEST(fields_are_taken_of_the_whole),
        TEST(without_a_cache_it_works),
    };
    return RUN(tests);
}
