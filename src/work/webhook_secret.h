/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets of webhooks, and the signatures that are made with them, by Standard Webhooks 1.0
 * (https://www.standardwebhooks.com): `whsec_` and base64; HMAC-SHA-256 over id.timestamp.body.
 * What is stored of one is sealed with the master secret under the webhook's id.
 */
#ifndef TALLYGATE_WORK_WEBHOOK_SECRET_H
#define TALLYGATE_WORK_WEBHOOK_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/crypto.h"

enum {
    WEBHOOK_SECRET_BYTES = 32,
    WEBHOOK_SECRET_SIZE = 6 + (WEBHOOK_SECRET_BYTES + 2) / 3 * 4 + 1, /* as text */
    WEBHOOK_SEALED_SIZE = WEBHOOK_SECRET_BYTES + CRYPTO_SEAL_OVERHEAD,
    WEBHOOK_SIGNATURE_SIZE = 3 + (CRYPTO_SHA256_SIZE + 2) / 3 * 4 + 1, /* v1, and base64 */
};

/* The key that secrets are sealed with; wipe it. False when OpenSSL refuses. */
bool webhook_secret_key(const struct config *config, uint8_t ret_key[CRYPTO_KEY_SIZE]);
/* Draw one for the webhook `id`. False when OpenSSL refuses. */
bool webhook_secret_draw(const uint8_t key[CRYPTO_KEY_SIZE], const char *id,
                         char ret_text[WEBHOOK_SECRET_SIZE], uint8_t ret_sealed[WEBHOOK_SEALED_SIZE]);
/* Sign with what was stored, in hex. False when it was sealed with another master secret. */
bool webhook_secret_sign(const uint8_t key[CRYPTO_KEY_SIZE], const char *id, const char *sealed_hex,
                         const char *message, size_t length, char ret_signature[WEBHOOK_SIGNATURE_SIZE]);

#endif
