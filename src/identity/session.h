/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions: what a login opens and a token belongs to. */
#ifndef TALLYGATE_IDENTITY_SESSION_H
#define TALLYGATE_IDENTITY_SESSION_H

#include <stdint.h>

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* What is known of an account when a session opens for it. Texts live in the arena. */
struct session_user {
    int64_t user_id;
    int64_t workspace_id;
    const char *email;
    const char *username;
    const char *full_name;
    int64_t created_us;
    int64_t updated_us;
    const char *password_hash; /* only with SESSION_NEEDS_CODE */
};

enum session_verdict {
    SESSION_REFUSED, /* nobody is told why */
    SESSION_OPENED,
    SESSION_NEEDS_CODE, /* the password is right, and the account has a second factor (mfa.h) */
};

/* A session that is stored or about to be. */
struct session_opened {
    uint8_t id[16];
    const char *refresh_token;
    const char *access_token; /* NULL: still to be made */
};

/* The user in the first seven columns of a row: id, workspace, email, username, full name, created, updated
 * (PG_US). */
void session_read_user(struct arena *arena, const PGresult *row, struct session_user *ret_user);
/* The parameters that describe a new session, in the order id, address, user agent, lifetime in
 * seconds, seed, refresh token's hash, for statements that insert one. */
enum { SESSION_PARAMS = 6 };
enum err session_params(struct request *request, struct pg_params *params, struct session_opened *ret_opened);
/* An access token for the session; it lives in the arena. */
enum err session_token(struct request *request, const struct session_user *user, const uint8_t session_id[16],
                       const char **ret_token);
/* What the client calls itself, as it may be stored; NULL when it says nothing. */
const char *session_user_agent(struct request *request);
/* Answer {access_token, token_type, expires_in, refresh_token, refresh_token_expires_in, user} for a session
 * that was stored. */
enum err session_answer(struct request *request, struct response *response, int status,
                        const struct session_user *user, const struct session_opened *opened);

/* Open a session for an address and a password. In the auth pool only. ERR_TOO_MANY after attempts that
 * failed. */
enum err session_open(struct request *request, const char *email, const char *password,
                      struct session_user *ret_user, struct session_opened *ret_opened,
                      enum session_verdict *ret_verdict);
/* Look an account up to open a session for it; *ret_hash is that of its password, and lives as long as the
 * row. ERR_NOT_FOUND when it is gone or switched off. */
enum err session_find_user(struct request *request, int64_t user_id, PGresult **ret_row,
                           const char **ret_hash);
/* Open a session for the account of such a row. *ret_good is false when its password was changed meanwhile.
 */
enum err session_open_known(struct request *request, const PGresult *row, struct session_user *ret_user,
                            struct session_opened *ret_opened, bool *ret_good);

/* POST /auth/login: {email, password}. An unknown address and a wrong password get the same words
 * after the same work. */
enum err session_login(struct request *request, struct response *response);
/* POST /auth/logout?scope=local|others|global: end the session that asks, the account's others, or all. */
enum err session_logout(struct request *request, struct response *response);
/* GET /auth/sessions: those of the account, the one used last first. */
enum err session_list(struct request *request, struct response *response);
/* DELETE /auth/sessions/{id} */
enum err session_end(struct request *request, struct response *response);
/* GET /auth/verify: {id, email, created_at} of the token's account, or {type, client_id, name, created_at} of
 * its service, as they were within the last second. */
enum err session_verify(struct request *request, struct response *response);

/* Look what the costliest of the stored hashes is, for password_note_stored(). */
enum err session_note_cost(struct pg *pg);
/* Drop some sessions and revocations that ended. *ret_more: there may be others. */
enum err session_prune(struct pg *pg, bool *ret_more);

#endif
