/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crypto.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { SEAL_VERSION = 1, NONCE_SIZE = 12, TAG_SIZE = 16 };

void crypto_random(void *ret_bytes, size_t length)
{
    if (RAND_bytes(ret_bytes, (int)length) != 1) {
        abort();
    }
}

/* OpenSSL 3 looks EVP_sha256() up by its name each time, under a lock that all threads share; that takes
 * longer than to hash a token. */
static const EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

void crypto_sha256(const void *data, size_t length, uint8_t ret_digest[CRYPTO_SHA256_SIZE])
{
    pthread_once(&sha256_once, fetch_sha256);
    if (EVP_Digest(data, length, ret_digest, NULL, sha256, NULL) != 1) {
        abort();
    }
}

bool crypto_hmac_sha256(const uint8_t key[CRYPTO_KEY_SIZE], const void *data, size_t length,
                        uint8_t ret_mac[CRYPTO_SHA256_SIZE])
{
    unsigned written = 0;
    return HMAC(EVP_sha256(), key, CRYPTO_KEY_SIZE, data, length, ret_mac, &written) != NULL &&
           written == CRYPTO_SHA256_SIZE;
}

/* From DER, in which OpenSSL has it, to two numbers of a fixed width. */
static bool flatten_signature(const uint8_t *der, size_t length, uint8_t ret_signature[CRYPTO_ES256_SIZE])
{
    enum { HALF = CRYPTO_ES256_SIZE / 2 };
    ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &der, (long)length);
    bool ok = numbers && BN_bn2binpad(ECDSA_SIG_get0_r(numbers), ret_signature, HALF) == HALF &&
              BN_bn2binpad(ECDSA_SIG_get0_s(numbers), ret_signature + HALF, HALF) == HALF;
    ECDSA_SIG_free(numbers);
    return ok;
}

bool crypto_es256_sign(const char *private_pem, const void *data, size_t length,
                       uint8_t ret_signature[CRYPTO_ES256_SIZE])
{
    uint8_t der[128];
    size_t der_length = sizeof(der);
    BIO *bio = BIO_new_mem_buf(private_pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = key && context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(context, der, &der_length, data, length) == 1 &&
              flatten_signature(der, der_length, ret_signature);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

/* The reverse; returns a length, or -1. *ret_der is OpenSSL's to free. */
static int unflatten_signature(const uint8_t signature[CRYPTO_ES256_SIZE], uint8_t **ret_der)
{
    enum { HALF = CRYPTO_ES256_SIZE / 2 };
    int length = -1;
    ECDSA_SIG *numbers = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, HALF, NULL);
    BIGNUM *s = BN_bin2bn(signature + HALF, HALF, NULL);
    if (numbers && r && s && ECDSA_SIG_set0(numbers, r, s) == 1) {
        length = i2d_ECDSA_SIG(numbers, ret_der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(numbers);
    return length;
}

bool crypto_es256_verify(const char *public_pem, const void *data, size_t length,
                         const uint8_t signature[CRYPTO_ES256_SIZE])
{
    uint8_t *der = NULL;
    int der_length = unflatten_signature(signature, &der);
    BIO *bio = BIO_new_mem_buf(public_pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ok = der_length > 0 && key && context &&
              EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestVerify(context, der, (size_t)der_length, data, length) == 1;
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    BIO_free(bio);
    OPENSSL_free(der);
    return ok;
}

void crypto_hex(const uint8_t *data, size_t length, char *ret_text)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        ret_text[2 * i] = DIGITS[data[i] >> 4];
        ret_text[2 * i + 1] = DIGITS[data[i] & 15];
    }
    ret_text[2 * length] = '\0';
}

bool crypto_unhex(const char *text, uint8_t *ret_data, size_t length)
{
    if (strspn(text, "0123456789abcdefABCDEF") != 2 * length || text[2 * length]) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        const char pair[] = {text[2 * i], text[2 * i + 1], '\0'};
        ret_data[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

size_t crypto_base64url(const uint8_t *data, size_t length, char *ret_text)
{
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t out = 0;
    for (size_t i = 0; i < length; i += 3) {
        size_t left = length - i;
        uint32_t group = (uint32_t)data[i] << 16;
        group |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)data[i + 2] : 0;
        size_t chars = left > 2 ? 4 : left + 1;
        for (size_t c = 0; c < chars; c++) {
            ret_text[out++] = ALPHABET[(group >> (18 - 6 * c)) & 63];
        }
    }
    ret_text[out] = '\0';
    return out;
}

static int base64url_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool crypto_base64url_decode(const char *text, size_t length, uint8_t *ret_data, size_t *ret_length)
{
    size_t out = 0;
    uint32_t group = 0;
    if (length % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        int value = base64url_value(text[i]);
        if (value < 0) {
            return false;
        }
        group = (group << 6) | (uint32_t)value;
        if (i % 4) {
            ret_data[out++] = (uint8_t)(group >> (6 - 2 * (i % 4)));
        }
    }
    /* Bits that no byte takes must be zero, or one value would have several texts. */
    unsigned spare = length % 4 == 2 ? 0x0f : length % 4 == 3 ? 0x03 : 0;
    if (group & spare) {
        return false;
    }
    *ret_length = out;
    return true;
}

void crypto_base64(const uint8_t *data, size_t length, char *ret_text)
{
    EVP_EncodeBlock((unsigned char *)ret_text, data, (int)length);
}

bool crypto_base64_decode(const char *text, uint8_t *ret_data, size_t capacity, size_t *ret_length)
{
    size_t length = strlen(text);
    if (length == 0 || length % 4 != 0 || length / 4 * 3 > capacity) {
        return false;
    }
    int decoded = EVP_DecodeBlock(ret_data, (const unsigned char *)text, (int)length);
    if (decoded < 0) {
        return false;
    }
    /* It counts the padding as zero bytes. */
    size_t padding = (size_t)(text[length - 1] == '=') + (size_t)(text[length - 2] == '=');
    *ret_length = (size_t)decoded - padding;
    return (size_t)decoded >= padding;
}

bool crypto_derive(const uint8_t *secret, size_t secret_length, const char *purpose,
                   uint8_t ret_key[CRYPTO_KEY_SIZE])
{
    size_t size = CRYPTO_KEY_SIZE;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    bool ok =
        context && EVP_PKEY_derive_init(context) == 1 &&
        EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) == 1 &&
        EVP_PKEY_CTX_set1_hkdf_key(context, secret, (int)secret_length) == 1 &&
        EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *)purpose, (int)strlen(purpose)) == 1 &&
        EVP_PKEY_derive(context, ret_key, &size) == 1;
    EVP_PKEY_CTX_free(context);
    return ok;
}

bool crypto_seal(const uint8_t key[CRYPTO_KEY_SIZE], const char *label, const uint8_t *data, size_t length,
                 uint8_t *ret_sealed)
{
    uint8_t *nonce = ret_sealed + 1;
    uint8_t *body = nonce + NONCE_SIZE;
    int n;
    ret_sealed[0] = SEAL_VERSION;
    crypto_random(nonce, NONCE_SIZE);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool ok = context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
              EVP_EncryptUpdate(context, NULL, &n, (const unsigned char *)label, (int)strlen(label)) == 1 &&
              EVP_EncryptUpdate(context, body, &n, data, (int)length) == 1 &&
              EVP_EncryptFinal_ex(context, body + n, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, body + length) == 1;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

bool crypto_open(const uint8_t key[CRYPTO_KEY_SIZE], const char *label, const uint8_t *sealed, size_t length,
                 uint8_t *ret_data)
{
    if (length < CRYPTO_SEAL_OVERHEAD || sealed[0] != SEAL_VERSION) {
        return false;
    }
    const uint8_t *nonce = sealed + 1;
    const uint8_t *body = nonce + NONCE_SIZE;
    size_t size = length - CRYPTO_SEAL_OVERHEAD;
    uint8_t tag[TAG_SIZE];
    int n;
    memcpy(tag, body + size, TAG_SIZE);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool ok = context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
              EVP_DecryptUpdate(context, NULL, &n, (const unsigned char *)label, (int)strlen(label)) == 1 &&
              EVP_DecryptUpdate(context, ret_data, &n, body, (int)size) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag) == 1 &&
              EVP_DecryptFinal_ex(context, ret_data + n, &n) == 1;
    EVP_CIPHER_CTX_free(context);
    return ok;
}

bool crypto_stretch(const uint8_t *passphrase, size_t length, const uint8_t salt[CRYPTO_SALT_SIZE],
                    uint8_t ret_key[CRYPTO_KEY_SIZE])
{
    enum { ROUNDS = 1 << 16, BLOCK = 8, PARALLEL = 1, MEMORY_MAX = 128 * 1024 * 1024 };
    return EVP_PBE_scrypt((const char *)passphrase, length, salt, CRYPTO_SALT_SIZE, ROUNDS, BLOCK, PARALLEL,
                          MEMORY_MAX, ret_key, CRYPTO_KEY_SIZE) == 1;
}

void crypto_wipe(void *data, size_t length)
{
    OPENSSL_cleanse(data, length);
}

void uuid_v7(uint8_t ret_uuid[16])
{
    uint64_t ms = (uint64_t)(clock_now_us() / 1000);
    crypto_random(ret_uuid + 6, 10);
    for (int i = 0; i < 6; i++) {
        ret_uuid[i] = (uint8_t)(ms >> (40 - 8 * i));
    }
    ret_uuid[6] = (uint8_t)(0x70 | (ret_uuid[6] & 0x0f));
    ret_uuid[8] = (uint8_t)(0x80 | (ret_uuid[8] & 0x3f));
}

void uuid_format(const uint8_t uuid[16], char ret_text[UUID_TEXT_SIZE])
{
    char hex[33];
    crypto_hex(uuid, 16, hex);
    size_t out = 0;
    for (size_t i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) {
            ret_text[out++] = '-';
        }
        ret_text[out++] = hex[i];
    }
    ret_text[out] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(const char *text, uint8_t ret_uuid[16])
{
    uint8_t uuid[16];
    size_t digits = 0;
    if (strlen(text) != UUID_TEXT_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < UUID_TEXT_SIZE - 1; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return false;
            }
            continue;
        }
        int value = hex_value(text[i]);
        if (value < 0) {
            return false;
        }
        uuid[digits / 2] = (uint8_t)(digits % 2 ? (uuid[digits / 2] | value) : value << 4);
        digits++;
    }
    memcpy(ret_uuid, uuid, sizeof(uuid));
    return true;
}
