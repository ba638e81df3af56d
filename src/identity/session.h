/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: what a login opens and a token belongs to. */
#ifndef TALLYGATE_IDENTITY_SESSION_H
#define TALLYGATE_IDENTITY_SESSION_H

#include <stdint.h>

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* What is known of an account when a session opens for it. Texts live in a PGresult or the arena. */
struct session_user {
    int64_t user_id;
    int64_t workspace_id;
    const char *email;
    const char *username;
    const char *full_name;
    int64_t created_us;
    int64_t updated_us;
};

/* The parameters that describe a new session, in the order id, address, user agent, lifetime in
 * seconds, for statements that insert one. Fills in the id. */
void session_params(struct request *request, struct pg_params *params, uint8_t ret_id[16]);
/* Answer {access_token, token_type, expires_in, user} for a session that was stored. */
enum err session_answer(struct request *request, struct response *response, int status,
                        const struct session_user *user, const uint8_t session_id[16]);

/* POST /auth/login: {email, password}. An unknown address and a wrong password get the same words
 * after the same work. */
enum err session_login(struct request *request, struct response *response);
/* GET /auth/verify: {id, email, created_at} of the token's account, as they were within the last second. */
enum err session_verify(struct request *request, struct response *response);

/* Drop some sessions and revocations that ended. *ret_more: there may be others. */
enum err session_prune(struct pg *pg, bool *ret_more);

#endif
