/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens: JWTs (RFC 7519) of the profile of RFC 9068, signed with ES256, claims iss, aud, sub,
 * client_id, sid, iat, nbf, exp, jti, all but client_id checked (RFC 8725). A user's token has the account in
 * `sub`, its session in `sid`, and in `ws` the workspace that it speaks for. A service's has `type: service`,
 * its `name`, and its id in all of `sub`, `sid` and `client_id`.
 */
#ifndef TALLYGATE_IDENTITY_TOKEN_H
#define TALLYGATE_IDENTITY_TOKEN_H

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "http/request.h"
#include "identity/keyring.h"

/* The client_id that RFC 9068 section 2.2 asks for when it is our own login that is the client. */
extern const char TOKEN_FIRST_PARTY[];

enum {
    TOKEN_MAX_BYTES = 4096,
    TOKEN_CLOCK_SKEW_S = 5, /* how far iat and nbf may lie ahead of this host's clock */
};

/* What a token says, once its signature was found right. */
struct token_claims {
    struct principal principal;
    int64_t issued_s;     /* Unix time */
    int64_t not_before_s; /* Unix time: the later of iat and nbf */
    int64_t expires_s;    /* the first second in which it is no longer good */
};

/* A token for `principal`, whose token_id does not matter, that ends in config->access_token_ttl_s; it lives
 * in the arena. `service_name` is NULL for users. ERR_UNAVAILABLE while no signing key is loaded. */
enum err token_issue(struct keyring *keyring, const struct config *config, const struct principal *principal,
                     const char *service_name, struct arena *arena, const char **ret_token);
/* ERR_UNAUTHENTICATED for whatever is wrong with the token; *ret_reason then says what, for the
 * WWW-Authenticate header. ERR_UNAVAILABLE while no keys are loaded. `now_s` is the Unix time. */
enum err token_verify(struct keyring *keyring, const struct config *config, const char *token, int64_t now_s,
                      struct token_claims *ret_claims, const char **ret_reason);
/* Why a token with these claims is not good at `now_s`; NULL when it is. */
const char *token_claims_outside(const struct token_claims *claims, int64_t now_s);

#endif
