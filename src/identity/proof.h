/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people prove by a token that was mailed to them: that an address is theirs, and, when the password is
 * forgotten, who they are. A token has 256 bits, is good for one use and for a limited time, and is stored as
 * a hash; what it is for is part of its row, so none can be used for something else.
 *
 * Asking for a new password tells nothing of whether an account has the address: the answer and the work are
 * the same. Somebody who asks again and again gets the owner five mails an hour.
 */
#ifndef TALLYGATE_IDENTITY_PROOF_H
#define TALLYGATE_IDENTITY_PROOF_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

enum {
    PROOF_VERIFY_TTL_S = 3 * 86400, /* the mails' words say the same (mail.c) */
    PROOF_CHANGE_TTL_S = 86400,
    PROOF_RESET_TTL_S = 3600,
};

/* Mail a token to the address that is to become the caller's, and a notice to the present one, in a
 * transaction of the caller's. *ret_sent: false when five were sent this hour. */
enum err proof_send_change(struct request *request, struct pg *pg, const char *email, bool *ret_sent);

/* POST /auth/address/verification: mail a token to the caller's own address. */
enum err proof_send_verification(struct request *request, struct response *response);
/* POST /auth/address/verify: {token} */
enum err proof_verify(struct request *request, struct response *response);
/* POST /auth/address/confirm: {token} of a new address */
enum err proof_confirm(struct request *request, struct response *response);
/* POST /auth/password/forgot: {email} */
enum err proof_forgot(struct request *request, struct response *response);
/* POST /auth/password/reset: {token, password} */
enum err proof_reset(struct request *request, struct response *response);

#endif
