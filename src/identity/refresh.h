/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refresh tokens: with one a client gets new access tokens for as long as the session lives, and with each of
 * them a new refresh token in its place (RFC 9700 section 4.14.2). See refresh.c for the rules.
 */
#ifndef TALLYGATE_IDENTITY_REFRESH_H
#define TALLYGATE_IDENTITY_REFRESH_H

#include <stdint.h>

#include "base/config.h"
#include "base/crypto.h"
#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

enum {
    REFRESH_SEED_SIZE = 16,
    REFRESH_TEXT_SIZE = 80, /* `tgr_`, 70 characters and NUL, with room */
};

/* What every refresh token begins with. */
#define REFRESH_PREFIX "tgr_"

struct refresh_token {
    char text[REFRESH_TEXT_SIZE];
    uint8_t hash[CRYPTO_SHA256_SIZE]; /* of the text: what is stored */
};

/* The token of a session in its `generation`, from 0 on. ERR_INTERNAL when OpenSSL refuses. */
enum err refresh_derive(const struct config *config, const uint8_t session_id[16], int64_t generation,
                        const uint8_t seed[REFRESH_SEED_SIZE], struct refresh_token *ret_token);

struct session_opened;
struct session_user;

/* Use a token: *ret_opened has its successor and an access token. *ret_good is false when it is refused. */
enum err refresh_use(struct request *request, const char *text, struct session_user *ret_user,
                     struct session_opened *ret_opened, bool *ret_good);
/* Whether it is the one that would be taken now, and if so of which account and session and until when. */
struct refresh_state {
    int64_t user_id;
    uint8_t session_id[16];
    const char *email; /* in the arena */
    int64_t issued_us; /* Unix time, as the next */
    int64_t expires_us;
};
enum err refresh_look(struct request *request, const char *text, struct refresh_state *ret_state,
                      bool *ret_good);
/* End the session of a token, also of one that was used before; a text that is none changes nothing. */
enum err refresh_revoke(struct request *request, const char *text);

/* POST /auth/refresh: {refresh_token} */
enum err refresh_session(struct request *request, struct response *response);

#endif
