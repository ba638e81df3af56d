/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_driver URL NAME - what a worker does with answers, for tests/drivers/test_answer.py.
 *
 * A line is `WORKSPACE USER VERSION` and asks for the figures of a period that is over. They tell by its
 * name which driver made them, and which of its answers they are. What comes back is
 * `CACHE-STATUS HITS-PROCESS HITS-REDIS MICROSECONDS BODY`, with tabs between.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/answer.h"
#include "base/cache.h"
#include "base/clock.h"
#include "base/json.h"

enum { CACHE_BYTES = 16 * 1024 * 1024, REDIS_TIMEOUT_MS = 200, KEPT_MS = 60000 };

struct maker {
    const char *name;
    int count;
};

static enum err build(struct request *request, void *argument, struct json_object **ret_answer)
{
    struct maker *maker = argument;
    struct json_object *answer = json_object_new_object();
    json_add_string(answer, "maker", maker->name);
    json_add_int(answer, "number", ++maker->count);
    json_add_int(answer, "workspace", request->principal.workspace_id);
    *ret_answer = answer;
    return ERR_OK;
}

static enum err ask(struct request *request, struct response *response, struct maker *maker, char *line)
{
    struct answer_key key, late;
    char *rest = line;
    request->principal.workspace_id = strtoll(strtok_r(rest, " \n", &rest), NULL, 10);
    answer_key_init(&key, request, "usage");
    answer_key_text(&key, "user_id", strtok_r(rest, " \n", &rest));
    /* What the database would say of late events, kept as if it had just been asked. */
    const char *version = strtok_r(rest, " \n", &rest);
    answer_key_init(&late, request, "late");
    cache_put(request->services->cache, late.text, strlen(late.text), version, strlen(version), KEPT_MS);
    struct answer_question question = {.key = &key, .finished = true, .build = build, .argument = maker};
    return answer_cached(request, response, &question);
}

static void serve(struct services *services, struct maker *maker, char *line)
{
    static const char *const ENVIRONMENT[] = {NULL};
    struct arena arena = {0};
    struct request request;
    struct response response;
    struct buf body;
    buf_init(&body, RESPONSE_BODY_MAX);
    request_init(&request, &arena, services, ENVIRONMENT);
    response_init(&response, &arena, &body);
    int64_t start_us = clock_monotonic_us();
    if (ask(&request, &response, maker, line) != ERR_OK) {
        abort();
    }
    printf("%s\t%llu\t%llu\t%lld\t%s", response.headers[0].value,
           (unsigned long long)services->metrics->answer_cache_hits_process,
           (unsigned long long)services->metrics->answer_cache_hits_redis,
           (long long)(clock_monotonic_us() - start_us), buf_text(&body));
    fflush(stdout);
    buf_free(&body);
    arena_free(&arena);
}

int main(int argc, char **argv)
{
    char error[CONFIG_ERROR_SIZE];
    struct config config;
    struct metrics metrics = {0};
    char *line = NULL;
    size_t size = 0;
    if (argc != 3 || !config_load(&config, NULL, error)) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a worker blocks it */
    struct maker maker = {.name = argv[2]};
    struct services services = {.config = &config,
                                .metrics = &metrics,
                                .redis = redis_new(argv[1], REDIS_TIMEOUT_MS),
                                .cache = cache_new(CACHE_BYTES)};
    while (getline(&line, &size, stdin) > 0) {
        serve(&services, &maker, line);
    }
    free(line);
    redis_free(services.redis);
    cache_free(services.cache);
    config_free(&config);
    return 0;
}
