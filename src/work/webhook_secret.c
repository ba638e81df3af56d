/* SPDX-License-Identifier: Apache-2.0 */
#include "work/webhook_secret.h"

#include <string.h>

static const char PREFIX[] = "whsec_";
static const char PURPOSE[] = "tallygate webhooks v1";

bool webhook_secret_key(const struct config *config, uint8_t ret_key[CRYPTO_KEY_SIZE])
{
    return crypto_derive(config->secret, config->secret_length, PURPOSE, ret_key);
}

bool webhook_secret_draw(const uint8_t key[CRYPTO_KEY_SIZE], const char *id,
                         char ret_text[WEBHOOK_SECRET_SIZE], uint8_t ret_sealed[WEBHOOK_SEALED_SIZE])
{
    uint8_t secret[WEBHOOK_SECRET_BYTES];
    crypto_random(secret, sizeof(secret));
    memcpy(ret_text, PREFIX, sizeof(PREFIX) - 1);
    crypto_base64(secret, sizeof(secret), ret_text + sizeof(PREFIX) - 1);
    bool sealed = crypto_seal(key, id, secret, sizeof(secret), ret_sealed);
    crypto_wipe(secret, sizeof(secret));
    return sealed;
}

bool webhook_secret_sign(const uint8_t key[CRYPTO_KEY_SIZE], const char *id, const char *sealed_hex,
                         const char *message, size_t length, char ret_signature[WEBHOOK_SIGNATURE_SIZE])
{
    uint8_t sealed[WEBHOOK_SEALED_SIZE], secret[WEBHOOK_SECRET_BYTES], mac[CRYPTO_SHA256_SIZE];
    bool made = crypto_unhex(sealed_hex, sealed, sizeof(sealed)) &&
                crypto_open(key, id, sealed, sizeof(sealed), secret) &&
                crypto_hmac_sha256(secret, message, length, mac);
    if (made) {
        memcpy(ret_signature, "v1,", 3);
        crypto_base64(mac, sizeof(mac), ret_signature + 3);
    }
    crypto_wipe(secret, sizeof(secret));
    return made;
}
