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

struct refresh_token {
    char text[REFRESH_TEXT_SIZE];
    uint8_t hash[CRYPTO_SHA256_SIZE]; /* of the text: what is stored */
};

/* The token of a session in its `generation`, from 0 on. ERR_INTERNAL when OpenSSL refuses. */
enum err refresh_derive(const struct config *config, const uint8_t session_id[16], int64_t generation,
                        const uint8_t seed[REFRESH_SEED_SIZE], struct refresh_token *ret_token);

/* POST /auth/refresh: {refresh_token} */
enum err refresh_session(struct request *request, struct response *response);

#endif
