/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are kept for a while, so that PostgreSQL is asked once what many clients ask.
 *
 * A question is spelt out in a key: the route, the workspace of the token, and all that shapes the
 * answer in one canonical form. What is kept is the text of the whole answer; `fields` is applied to
 * it afterwards, so that one entry serves every selection.
 *
 * - A question about a period that is over has one answer until late events arrive, and then another
 *   version. It is kept for an hour, by the process and in Redis, where all workers of all hosts find it.
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
 *         ... validate_query(), with a row {"fields", FIELD_STRING, 0, 1, SPARSE_TEXT_MAX, sparse_check} ...
 *         answer_key_init(&key, request, "usage");
 *         answer_key_text(&key, "user_id", usage.user_id);
 *         answer_key_text(&key, "start", usage.period.start_date);
 *         answer_key_int(&key, "days", usage.period.days);
 *         struct answer_question question = {
 *             .key = &key,
 *             .finished = answer_is_finished(usage.period.end_us),
 *             .version = version,
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

/* Whether a period with this end lies wholly before today, in UTC. */
bool answer_is_finished(int64_t end_us);

/* Make the answer. The tree is the caller's; it stays untouched on failure. */
typedef enum err answer_build(struct request *request, void *argument, struct json_object **ret_answer);

struct answer_question {
    const struct answer_key *key;
    bool finished;
    /* Of a finished period: a number that grows when events of the past arrive, read before the answer
     * is made. With one that does not grow, such an event is missing for up to an hour. */
    int64_t version;
    answer_build *build;
    void *argument;
    const char *fields; /* what sparse_check() let through, or NULL: all */
};

/* Answer 200 with what is kept, or else with what is built. Fails as build() does, and as sparse_apply(). */
enum err answer_cached(struct request *request, struct response *response,
                       const struct answer_question *question);

#endif
