/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How hard a password is to guess, as zxcvbn estimates it: by the guesses that somebody needs who knows
 * common passwords, words and names, patterns on the keyboard, dates, and this account. There are no rules of
 * composition (NIST SP 800-63B section 5.1.1.2).
 */
#ifndef TALLYGATE_IDENTITY_STRENGTH_H
#define TALLYGATE_IDENTITY_STRENGTH_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* What is known of the account, as texts or NULL. */
struct strength_account {
    const char *email;
    const char *username;
    const char *full_name;
};

/* Refuse a password whose score is below password_min_score: ERR_INVALID, with what makes it easy to guess.
 */
enum err strength_check(struct request *request, const char *field, const char *password,
                        const struct strength_account *account);

/* POST /auth/password/strength: {password, email?, username?, full_name?} */
enum err strength_show(struct request *request, struct response *response);

#endif
