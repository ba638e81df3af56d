/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second factor of an account: time-based one-time passwords (TOTP, RFC 6238: SHA-1, six digits, 30 s, as
 * all authenticator apps have them; liboath computes them) and ten recovery codes for when the app is lost.
 *
 * No code is taken twice, nor one of an earlier time step. One step before and after now is taken, for clocks
 * that differ. After five wrong codes none is taken for five minutes: only those who know the password get
 * here, so nobody else can cause that. The key is sealed with the master secret; recovery codes are stored as
 * an HMAC under a key from it, as 50 bits are few.
 */
#ifndef TALLYGATE_IDENTITY_TOTP_H
#define TALLYGATE_IDENTITY_TOTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "store/pg.h"

enum {
    TOTP_KEY_SIZE = 20,
    TOTP_DIGITS = 6,
    TOTP_STEP_S = 30,
    TOTP_RECOVERY_CODES = 10,
    TOTP_RECOVERY_SIZE = 12, /* XXXXX-XXXXX and NUL */
};

/* A key for `user_id` that counts once a code of it was given; it replaces one that never did. *ret_secret is
 * the key in base32, *ret_email the account's address, both in the arena. ERR_CONFLICT when the account has a
 * second factor already. */
enum err totp_begin(const struct config *config, struct pg *pg, int64_t user_id, struct arena *arena,
                    const char **ret_secret, const char **ret_email);

enum totp_verdict { TOTP_WRONG, TOTP_RIGHT, TOTP_RECOVERED, TOTP_WAIT, TOTP_NONE };

/* Use a code in a transaction of the caller's; `begins` asks for a key that does not count yet, and lets it
 * count. A code of six digits is one of the app, any other a recovery code; blanks and dashes do not matter.
 * TOTP_RECOVERED: that was a recovery code, which is spent now. With TOTP_WAIT *ret_wait_s tells for how
 * long; with TOTP_NONE there is no such key. */
enum err totp_use(const struct config *config, struct pg *pg, int64_t user_id, const char *code, bool begins,
                  enum totp_verdict *ret_verdict, int64_t *ret_wait_s);

/* Make new recovery codes in place of those that are there, in a transaction of the caller's. */
enum err totp_make_recovery(const struct config *config, struct pg *pg, int64_t user_id,
                            char ret_codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_SIZE]);

/* The URI that apps read from a QR code (otpauth), in the arena. `issuer` is the service's URL. */
const char *totp_uri(struct arena *arena, const char *issuer, const char *email, const char *secret);
/* The QR code of a text as SVG, in the arena; NULL when it is too long for one. */
const char *totp_qr_svg(struct arena *arena, const char *text);

#endif
