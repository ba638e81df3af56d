/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Access tokens whose signature was checked already. Checking an ES256 signature costs some two
 * hundred microseconds, finding a token here one or two, so a client that sends a thousand requests
 * with one token pays for the first.
 *
 * What an entry says is only what never changes about a token: that its signature was made by a key
 * of ours, whom it speaks for, and the seconds between which it is good. The clock and the
 * revocations are asked anew for each request, so a token ends to the second, and when the keys
 * change every entry is void.
 *
 * The key is the SHA-256 of the token's whole text: two tokens with the same digest cannot be made,
 * and the tokens themselves do not lie in memory. The table has a fixed size; a full set drops the
 * entry that was used least lately.
 */
#ifndef TALLYGATE_IDENTITY_TOKEN_CACHE_H
#define TALLYGATE_IDENTITY_TOKEN_CACHE_H

#include "base/config.h"
#include "base/err.h"
#include "base/metrics.h"
#include "identity/keyring.h"
#include "identity/token.h"

struct token_cache;

/* For all threads of a process. */
struct token_cache *token_cache_new(struct keyring *keyring, struct metrics *metrics);
void token_cache_free(struct token_cache *cache);

/* As token_verify(), with the same answers. */
enum err token_cache_verify(struct token_cache *cache, const struct config *config, const char *token,
                            int64_t now_s, struct principal *ret_principal, const char **ret_reason);

#endif
