/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in with a second factor (totp.h), and having one. A login whose password was right is then answered
 * with a challenge instead of a session, and POST /auth/login/mfa takes it together with a code. The
 * challenge is not stored: it names the account and its end, five minutes later, and is signed under a key
 * from the master secret. It is void when the password changes, and of no use without a code.
 */
#ifndef TALLYGATE_IDENTITY_MFA_H
#define TALLYGATE_IDENTITY_MFA_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

struct session_user;

/* Answer {mfa_required, challenge, expires_in} for an account whose password was right. */
enum err mfa_answer_challenge(struct request *request, struct response *response,
                              const struct session_user *user);

/* POST /auth/login/mfa: {challenge, code} */
enum err mfa_login(struct request *request, struct response *response);
/* GET /auth/mfa */
enum err mfa_show(struct request *request, struct response *response);
/* POST /auth/mfa/totp: {current_password}; the key to put into an app. In the auth pool. */
enum err mfa_begin(struct request *request, struct response *response);
/* POST /auth/mfa/totp/confirm: {code}; from then on it is needed. */
enum err mfa_confirm(struct request *request, struct response *response);
/* POST /auth/mfa/recovery-codes: {current_password}. In the auth pool. */
enum err mfa_renew_recovery(struct request *request, struct response *response);
/* POST /auth/mfa/disable: {current_password}. In the auth pool. */
enum err mfa_disable(struct request *request, struct response *response);
/* DELETE /users/{id}/mfa: for administrators, when somebody lost the app and all codes. */
enum err mfa_remove(struct request *request, struct response *response);

#endif
