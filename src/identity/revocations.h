/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was withdrawn before its time: sessions and services that ended before their access tokens did, and
 * single access tokens. An access token carries its own end of life, so without this a deleted account could
 * go on until then. Each worker keeps the set in memory;
 * its housekeeper asks the database for new rows several times a second, so a revocation reaches
 * every worker of every host within a second, and no request pays a round trip for it. The truth
 * is the table: a restart or the loss of Redis un-revokes nothing.
 */
#ifndef TALLYGATE_IDENTITY_REVOCATIONS_H
#define TALLYGATE_IDENTITY_REVOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/pg.h"

struct revocations;

/* `statement_limit_ms`: how long a statement of the service may last. */
struct revocations *revocations_new(int64_t statement_limit_ms);
void revocations_free(struct revocations *revocations);
/* Take in what was revoked since the last call; everything at first and every few minutes. */
enum err revocations_refresh(struct revocations *revocations, struct pg *pg);
/* ERR_OK when both the grant and the token stand, ERR_UNAUTHENTICATED when one was revoked, ERR_UNAVAILABLE
 * when the set has not been refreshed for so long that nobody can tell. */
enum err revocations_check(struct revocations *revocations, const uint8_t grant_id[16],
                           const uint8_t token_id[16]);

#endif
