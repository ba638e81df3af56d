/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little cryptography that is ours to arrange; the primitives are OpenSSL's.
 *
 * The master secret never encrypts anything itself: a key is derived from it for each purpose
 * (HKDF-SHA-256, RFC 5869), so a key that leaks tells nothing of another's.
 */
#ifndef TALLYGATE_BASE_CRYPTO_H
#define TALLYGATE_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CRYPTO_SHA256_SIZE = 32,
    CRYPTO_KEY_SIZE = 32,
    CRYPTO_SEAL_OVERHEAD = 1 + 12 + 16, /* version byte, nonce, tag */
    UUID_TEXT_SIZE = 37,                /* 8-4-4-4-12 and NUL */
};

/* Fill with random bytes from OpenSSL's generator (reseeded across fork). Aborts when it cannot:
 * there is no safe answer without randomness. */
void crypto_random(void *ret_bytes, size_t length);
void crypto_sha256(const void *data, size_t length, uint8_t ret_digest[CRYPTO_SHA256_SIZE]);
bool crypto_hmac_sha256(const uint8_t key[CRYPTO_KEY_SIZE], const void *data, size_t length,
                        uint8_t ret_mac[CRYPTO_SHA256_SIZE]);
enum { CRYPTO_ES256_SIZE = 64 };
/* Sign with a P-256 private key in PEM; the signature is r and s (RFC 7518 section 3.4). */
bool crypto_es256_sign(const char *private_pem, const void *data, size_t length,
                       uint8_t ret_signature[CRYPTO_ES256_SIZE]);
/* Whether `signature` was made by the other half of a P-256 public key in PEM. */
bool crypto_es256_verify(const char *public_pem, const void *data, size_t length,
                         const uint8_t signature[CRYPTO_ES256_SIZE]);
/* Lower-case hex; ret_text has 2*length+1 bytes. */
void crypto_hex(const uint8_t *data, size_t length, char *ret_text);
/* The reverse; false unless `text` is exactly `length` bytes in hex. */
bool crypto_unhex(const char *text, uint8_t *ret_data, size_t length);
/* base64url without padding (RFC 4648 section 5); ret_text has (length*4+2)/3 + 1 bytes. */
size_t crypto_base64url(const uint8_t *data, size_t length, char *ret_text);
/* Decode the same, strictly; false for a character outside the alphabet, an impossible length, or
 * bits left over. Writes at
 * most length*3/4 bytes. */
bool crypto_base64url_decode(const char *text, size_t length, uint8_t *ret_data, size_t *ret_length);
/* base64 with padding (RFC 4648 section 4); ret_text has (length+2)/3*4 + 1 bytes. */
void crypto_base64(const uint8_t *data, size_t length, char *ret_text);
/* Decode base64 with padding (RFC 4648 section 4), as in HTTP Basic. False when it is malformed, or would not
 * fit with two bytes to spare. */
bool crypto_base64_decode(const char *text, uint8_t *ret_data, size_t capacity, size_t *ret_length);

/* A key for `purpose` from the master secret. */
bool crypto_derive(const uint8_t *secret, size_t secret_length, const char *purpose,
                   uint8_t ret_key[CRYPTO_KEY_SIZE]);
/* AES-256-GCM with a random nonce; `label` is authenticated with it, so that a sealed value cannot
 * be moved to another row. ret_sealed has length + CRYPTO_SEAL_OVERHEAD bytes. */
bool crypto_seal(const uint8_t key[CRYPTO_KEY_SIZE], const char *label, const uint8_t *data, size_t length,
                 uint8_t *ret_sealed);
/* The reverse; false when key, label or data do not fit together. ret_data has
 * length - CRYPTO_SEAL_OVERHEAD bytes. */
bool crypto_open(const uint8_t key[CRYPTO_KEY_SIZE], const char *label, const uint8_t *sealed, size_t length,
                 uint8_t *ret_data);
enum { CRYPTO_SALT_SIZE = 16 };
/* A key from a passphrase (scrypt, RFC 7914: N = 2^16, r = 8, p = 1), which takes 64 MiB and a quarter of a
 * second, so that guessing is dear. */
bool crypto_stretch(const uint8_t *passphrase, size_t length, const uint8_t salt[CRYPTO_SALT_SIZE],
                    uint8_t ret_key[CRYPTO_KEY_SIZE]);
/* Overwrite, in a way that the compiler keeps. */
void crypto_wipe(void *data, size_t length);

/* A UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then random bits. */
void uuid_v7(uint8_t ret_uuid[16]);
void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT_SIZE]);
/* Read the 36-character form, either case. */
bool uuid_parse(const char *text, uint8_t ret_uuid[16]);

#endif
