/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growing delays for those who guess passwords. What counts is the pair of the account that is tried and the
 * network from which: so nobody can lock out another by guessing at that account, for the owner comes from
 * elsewhere; and, more generously, all that comes from one network, so that trying one password on many
 * accounts gets slow too. An address that no account has is counted like one that exists.
 *
 * An attempt is counted before it is judged, so many at once get no further than one after the other.
 */
#ifndef TALLYGATE_IDENTITY_THROTTLE_H
#define TALLYGATE_IDENTITY_THROTTLE_H

#include "base/err.h"
#include "http/request.h"

/* ERR_TOO_MANY when it must wait; the answer then says for how long. */
enum err throttle_begin(struct request *request, const char *email);
/* The attempt that was begun succeeded. */
enum err throttle_end(struct request *request, const char *email);
/* Drop some attempts of more than a day ago. *ret_more: there may be others. */
enum err throttle_prune(struct pg *pg, bool *ret_more);

#endif
