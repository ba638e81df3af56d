/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may ask how often. The route table names a class for each route; the class, and who asks, say how many
 * requests there are in a window. What counts is the generic cell rate algorithm (GCRA, ITU-T I.371): a
 * bucket that holds the whole limit and fills steadily, kept as one time in Redis.
 *
 * A worker takes some of a bucket at once, a hundredth of it, and serves requests from that; so a limit of a
 * few a minute is exact, and at a hundred a second nine requests of ten ask nobody. What a worker took and
 * does not use within a minute is lost to the client, never more. A refusal is remembered until it ends, so a
 * flood asks Redis nothing either. While Redis is away each process counts by itself, by the same rule.
 *
 * Answers carry RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) and the older
 * X-RateLimit-Limit, -Remaining and -Reset (Unix time at which the bucket is full again).
 */
#ifndef TALLYGATE_IDENTITY_RATELIMIT_H
#define TALLYGATE_IDENTITY_RATELIMIT_H

#include "base/config.h"
#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

struct ratelimit;

/* For all threads of a process. `config` holds the secret. NULL when OpenSSL refuses. */
struct ratelimit *ratelimit_new(const struct config *config);
void ratelimit_free(struct ratelimit *ratelimit);

/* Count this request, by the class of its route. ERR_TOO_MANY when there are too many; the answer then says
 * when the next one is due. */
enum err ratelimit_apply(struct request *request, struct response *response);
/* Count it as an attempt to log in, from where it comes; for a route that only then knows that it is one. */
enum err ratelimit_apply_login(struct request *request, struct response *response);

#endif
