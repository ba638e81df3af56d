/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are kept for a while, so that PostgreSQL is asked once what many clients ask.
 *
 * A question is spelt out in a key: the route, the workspace of the token, and all that shapes the
 * answer in one canonical form. What is kept is the text of the whole answer; `fields` is applied to
 * it afterwards, so that one entry serves every selection.
 *
 * - A question about a period that is over has one answer until late events arrive. How many of them came
 *   is its version (late_events in sql/migrations/0003_ingest.up.sql), which a process asks for anew each
 *   cache_unfinished_ms. It is kept for an hour, by the process and in Redis, where all workers of all hosts
 *   find it.
 * - One about a period that goes on has another answer with each event. It is kept for
 *   cache_unfinished_ms, at most a second, by the process alone.
 *
 * Cache-Status (RFC 9211) says of an answer where it comes from. A request with `Cache-Control:
 * no-cache` or `no-store` gets a new one.
 *
 * How a handler uses it:
 *
 *     static enum err build_usage(struct request *request, void *argument, struct json_object **ret_answer)
 *     {
 *         const struct usage *usage = argument;
 *         ... pg_query(), json_add_int(), ...
 *     }
 *
 *     enum err metric_usage(struct request *request, struct response *response)
 *     {
 *         struct answer_key key;
 *         ... validate_query(), with PERIOD_FIELDS and SPARSE_FIELD ...
 *         answer_key_init(&key, request, "usage");
 *         answer_key_text(&key, "user_id", usage.user_id);
 *         answer_key_period(&key, &usage.period);
 *         struct answer_question question = {
 *             .key = &key,
 *             .finished = period_is_over(&usage.period),
 *             .build = build_usage,
 *             .argument = &usage,
 *             .fields = values[FIELDS].text,
 *         };
 *         return answer_cached(request, response, &question);
 *     }
 */
#ifndef TALLYGATE_ANALYTICS_ANSWER_H
#define TALLYGATE_ANALYTICS_ANSWER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "analytics/period.h"
#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* A key under construction, in the request's arena. No two lists of names and values make the same
 * text, whatever is in the values. */
struct answer_key {
    struct arena *arena;
    const char *text;
};

/* Begin a key with the route's own word and the workspace. Names are literals of letters and _. */
void answer_key_init(struct answer_key *key, const struct request *request, const char *route);
void answer_key_int(struct answer_key *key, const char *name, int64_t value);
/* NULL is a value of its own: not given. */
void answer_key_text(struct answer_key *key, const char *name, const char *text_or_null);
void answer_key_period(struct answer_key *key, const struct period *period);

/* Make the answer. The tree is the caller's; it stays untouched on failure. */
typedef enum err answer_build(struct request *request, void *argument, struct json_object **ret_answer);

struct answer_question {
    const struct answer_key *key;
    bool finished;  /* period_is_over(), and nothing but late events changes the answer */
    bool several;   /* build() asks several statements, which must see the same moment */
    bool countless; /* clients can make up as many different ones as they like: not for Redis */
    answer_build *build;
    void *argument;
    const char *fields; /* what sparse_check() let through, or NULL: all */
};

/* Answer 200 with what is kept, or else with what is built. Fails as build() does, as sparse_apply(), and
 * with ERR_INVALID when the answer is too large. */
enum err answer_cached(struct request *request, struct response *response,
                       const struct answer_question *question);

#endif
