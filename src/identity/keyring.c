/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/keyring.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"

enum { COORDINATE_SIZE = 32 };

static const char SEAL_PURPOSE[] = "tallygate signing keys v1";

static const struct pg_statement LOAD = {"keyring_load",
                                         "SELECT kid, public_pem, encode(private_key, 'hex'), " PG_US(
                                             "active_from") " FROM signing_keys "
                                                            "ORDER BY active_from DESC, kid LIMIT 16"};
static const struct pg_statement INSERT_FIRST = {
    "keyring_insert_first", "INSERT INTO signing_keys (kid, public_pem, private_key) SELECT $1, $2, $3 "
                            "WHERE NOT EXISTS (SELECT FROM signing_keys) RETURNING " PG_US("active_from")};
static const struct pg_statement INSERT_NEXT = {
    "keyring_insert_next",
    "WITH made AS (INSERT INTO signing_keys (kid, public_pem, private_key, active_from) "
    "SELECT $1, $2, $3, now() + make_interval(secs => $4::int) "
    "WHERE NOT EXISTS (SELECT FROM signing_keys WHERE active_from > now()) "
    "AND (SELECT count(*) FROM signing_keys) < 16 " /* KEYRING_KEYS_MAX */
    "RETURNING kid, active_from), "
    "noted AS (INSERT INTO audit_log (action, subject) SELECT 'key.rotated', 'key:' || kid FROM made) "
    "SELECT " PG_US("active_from") " FROM made"};
/* A token lives for a day at the most, and clocks differ by less than an hour. */
static const struct pg_statement PRUNE = {
    "keyring_prune",
    "DELETE FROM signing_keys old WHERE EXISTS (SELECT FROM signing_keys next "
    "WHERE next.active_from > old.active_from AND next.active_from < now() - interval '25 hours') "
    "RETURNING 1"};

struct keyring {
    const struct config *config;
    bool with_private;
    pthread_rwlock_t lock; /* over what follows */
    struct keyring_key keys[KEYRING_KEYS_MAX];
    size_t count;
    _Atomic uint64_t generation;
};

struct keyring *keyring_new(const struct config *config, bool with_private)
{
    struct keyring *keyring = mem_zalloc(1, sizeof(*keyring));
    keyring->config = config;
    keyring->with_private = with_private;
    pthread_rwlock_init(&keyring->lock, NULL);
    return keyring;
}

void keyring_free(struct keyring *keyring)
{
    if (keyring) {
        pthread_rwlock_destroy(&keyring->lock);
        crypto_wipe(keyring, sizeof(*keyring));
        free(keyring);
    }
}

static bool seal_key(const struct config *config, uint8_t ret_key[CRYPTO_KEY_SIZE])
{
    return crypto_derive(config->secret, config->secret_length, SEAL_PURPOSE, ret_key);
}

/* PEM of one half of the pair into a fixed buffer. */
static bool write_pem(EVP_PKEY *pair, bool private, char ret_pem[KEYRING_PEM_SIZE])
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool ok = bio && (private ? PEM_write_bio_PrivateKey(bio, pair, NULL, NULL, 0, NULL, NULL)
                              : PEM_write_bio_PUBKEY(bio, pair)) == 1;
    char *data = NULL;
    long length = ok ? BIO_get_mem_data(bio, &data) : 0;
    ok = ok && length > 0 && length < KEYRING_PEM_SIZE;
    if (ok) {
        memcpy(ret_pem, data, (size_t)length);
        ret_pem[length] = '\0';
    }
    if (data) {
        crypto_wipe(data, (size_t)length);
    }
    BIO_free(bio);
    return ok;
}

static bool put_coordinate(EVP_PKEY *pair, const char *name, char *ret_text)
{
    uint8_t bytes[COORDINATE_SIZE];
    BIGNUM *number = NULL;
    bool ok = EVP_PKEY_get_bn_param(pair, name, &number) == 1 &&
              BN_bn2binpad(number, bytes, sizeof(bytes)) == (int)sizeof(bytes);
    BN_free(number);
    if (ok) {
        crypto_base64url(bytes, sizeof(bytes), ret_text);
    }
    return ok;
}

/* RFC 7638: SHA-256 of the key's required members in lexical order, without white space. */
static void thumbprint(struct keyring_key *key)
{
    char json[256];
    uint8_t digest[CRYPTO_SHA256_SIZE];
    int length = snprintf(json, sizeof(json), "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}",
                          key->x, key->y);
    crypto_sha256(json, (size_t)length, digest);
    crypto_base64url(digest, sizeof(digest), key->kid);
}

static bool put_point(EVP_PKEY *pair, struct keyring_key *key)
{
    return put_coordinate(pair, OSSL_PKEY_PARAM_EC_PUB_X, key->x) &&
           put_coordinate(pair, OSSL_PKEY_PARAM_EC_PUB_Y, key->y);
}

/* Fill in the point of a key whose PEM was loaded. */
static bool read_point(struct keyring_key *key)
{
    BIO *bio = BIO_new_mem_buf(key->public_pem, -1);
    EVP_PKEY *pair = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    bool ok = pair && put_point(pair, key);
    EVP_PKEY_free(pair);
    BIO_free(bio);
    return ok;
}

static bool make_key(struct keyring_key *ret_key)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    bool ok = pair && put_point(pair, ret_key) && write_pem(pair, false, ret_key->public_pem) &&
              write_pem(pair, true, ret_key->private_pem);
    if (ok) {
        thumbprint(ret_key);
    }
    EVP_PKEY_free(pair);
    return ok;
}

enum err keyring_make(struct keyring *keyring)
{
    pthread_rwlock_wrlock(&keyring->lock);
    bool ok = make_key(&keyring->keys[0]);
    keyring->count = ok ? 1 : 0;
    keyring->generation++;
    pthread_rwlock_unlock(&keyring->lock);
    return ok ? ERR_OK : ERR_INTERNAL;
}

struct insertion {
    const struct pg_statement *statement;
    struct pg_params params;
    PGresult *result;
};

static enum err insert_locked(struct pg *pg, void *argument)
{
    struct insertion *insertion = argument;
    enum err e = pg_script(pg, "LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE");
    return e ? e : pg_query(pg, insertion->statement, &insertion->params, &insertion->result);
}

/* Make a key and store it by `statement`, which may decide not to: ERR_CONFLICT. Several hosts may try at
 * once: it takes effect for one. ret_key may be NULL. */
static enum err insert(const struct config *config, struct pg *pg, const struct pg_statement *statement,
                       int64_t delay_s, struct keyring_key *ret_key)
{
    struct keyring_key key = {.kid = ""};
    uint8_t seal[CRYPTO_KEY_SIZE];
    uint8_t sealed[KEYRING_PEM_SIZE + CRYPTO_SEAL_OVERHEAD];
    enum err e = ERR_INTERNAL;

    if (make_key(&key) && seal_key(config, seal)) {
        size_t length = strlen(key.private_pem);
        if (crypto_seal(seal, key.kid, (const uint8_t *)key.private_pem, length, sealed)) {
            struct insertion insertion = {.statement = statement};
            pg_text(&insertion.params, key.kid);
            pg_text(&insertion.params, key.public_pem);
            pg_bytes(&insertion.params, sealed, length + CRYPTO_SEAL_OVERHEAD);
            if (statement == &INSERT_NEXT) {
                pg_int(&insertion.params, delay_s);
            }
            e = pg_transaction(pg, insert_locked, &insertion);
            e = e ? e : PQntuples(insertion.result) ? ERR_OK : ERR_CONFLICT;
            if (!e && ret_key) {
                *ret_key = key;
                ret_key->active_from_us = pg_get_int(insertion.result, 0, 0);
                crypto_wipe(ret_key->private_pem, sizeof(ret_key->private_pem));
            }
            PQclear(insertion.result);
        }
    }
    crypto_wipe(seal, sizeof(seal));
    crypto_wipe(&key, sizeof(key));
    return e;
}

enum err keyring_rotate(const struct config *config, struct pg *pg, int64_t delay_s,
                        struct keyring_key *ret_key)
{
    return insert(config, pg, &INSERT_NEXT, delay_s, ret_key);
}

enum err keyring_prune(struct pg *pg, int64_t *ret_deleted)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &PRUNE, NULL, &result);
    if (!e) {
        *ret_deleted = PQntuples(result);
    }
    return e;
}

static bool open_private(const struct keyring *keyring, const char *sealed_hex, struct keyring_key *key)
{
    uint8_t seal[CRYPTO_KEY_SIZE];
    uint8_t sealed[KEYRING_PEM_SIZE + CRYPTO_SEAL_OVERHEAD];
    size_t length = strlen(sealed_hex) / 2;
    if (length < CRYPTO_SEAL_OVERHEAD || length >= sizeof(sealed)) {
        return false;
    }
    bool ok = crypto_unhex(sealed_hex, sealed, length) && seal_key(keyring->config, seal) &&
              crypto_open(seal, key->kid, sealed, length, (uint8_t *)key->private_pem);
    key->private_pem[ok ? length - CRYPTO_SEAL_OVERHEAD : 0] = '\0';
    crypto_wipe(seal, sizeof(seal));
    return ok;
}

/* Take the rows into memory. */
static enum err take_rows(struct keyring *keyring, const PGresult *result)
{
    int rows = PQntuples(result);
    struct keyring_key *keys = mem_zalloc(KEYRING_KEYS_MAX, sizeof(*keys));
    enum err e = rows ? ERR_OK : ERR_NOT_FOUND;
    bool past = false; /* behind the key that signs now: such a key only verifies, and its private part stays
                          sealed */
    for (int i = 0; i < rows && !e; i++) {
        struct keyring_key *key = &keys[i];
        snprintf(key->kid, sizeof(key->kid), "%s", pg_get_text(result, i, 0));
        snprintf(key->public_pem, sizeof(key->public_pem), "%s", pg_get_text(result, i, 1));
        key->active_from_us = pg_get_int(result, i, 3);
        if (!read_point(key)) {
            log_error("signing key %s is no key of the curve P-256", key->kid);
            e = ERR_INTERNAL;
            break;
        }
        bool may_sign = keyring->with_private && !past;
        past = past || key->active_from_us <= clock_now_us();
        if (may_sign && !open_private(keyring, pg_get_text(result, i, 2), key)) {
            log_error("signing key %s cannot be opened: the master secret is not the one it was sealed with",
                      key->kid);
            e = past ? ERR_INTERNAL : ERR_OK; /* one that is to come must not stop the one that signs */
        }
    }
    if (!e) {
        pthread_rwlock_wrlock(&keyring->lock);
        if (keyring->count != (size_t)rows || memcmp(keyring->keys, keys, sizeof(keyring->keys)) != 0) {
            memcpy(keyring->keys, keys, sizeof(keyring->keys));
            keyring->count = (size_t)rows;
            keyring->generation++;
        }
        pthread_rwlock_unlock(&keyring->lock);
    }
    crypto_wipe(keys, KEYRING_KEYS_MAX * sizeof(*keys));
    free(keys);
    return e;
}

enum err keyring_load(struct keyring *keyring, struct pg *pg)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        PG_RESULT_AUTO result = NULL;
        enum err e = pg_query(pg, &LOAD, NULL, &result);
        if (e) {
            return e;
        }
        e = take_rows(keyring, result);
        if (e != ERR_NOT_FOUND || !keyring->with_private) {
            return e;
        }
        e = insert(keyring->config, pg, &INSERT_FIRST, 0, NULL);
        if (e && e != ERR_CONFLICT) { /* that one is another host's, which was first */
            return e;
        }
    }
    return ERR_NOT_FOUND;
}

bool keyring_is_loaded(struct keyring *keyring)
{
    pthread_rwlock_rdlock(&keyring->lock);
    bool loaded = keyring->count > 0;
    pthread_rwlock_unlock(&keyring->lock);
    return loaded;
}

enum err keyring_signer(struct keyring *keyring, struct keyring_key *ret_key)
{
    int64_t now_us = clock_now_us();
    pthread_rwlock_rdlock(&keyring->lock);
    size_t count = keyring->count;
    size_t i = 0;
    /* The last one that can signs, even when our clock lags behind or was set back. */
    while (i + 1 < count && keyring->keys[i + 1].private_pem[0] &&
           (keyring->keys[i].active_from_us > now_us || !keyring->keys[i].private_pem[0])) {
        i++;
    }
    if (count) {
        *ret_key = keyring->keys[i];
    }
    pthread_rwlock_unlock(&keyring->lock);
    return count ? ERR_OK : ERR_UNAVAILABLE;
}

size_t keyring_public(struct keyring *keyring, struct keyring_key ret_keys[KEYRING_KEYS_MAX])
{
    pthread_rwlock_rdlock(&keyring->lock);
    size_t count = keyring->count;
    for (size_t i = 0; i < count; i++) {
        ret_keys[i] = keyring->keys[i];
        crypto_wipe(ret_keys[i].private_pem, sizeof(ret_keys[i].private_pem));
    }
    pthread_rwlock_unlock(&keyring->lock);
    return count;
}

uint64_t keyring_generation(struct keyring *keyring)
{
    return atomic_load(&keyring->generation);
}

enum err keyring_find(struct keyring *keyring, const char *kid, struct keyring_key *ret_key)
{
    enum err e = ERR_NOT_FOUND;
    pthread_rwlock_rdlock(&keyring->lock);
    if (keyring->count == 0) {
        e = ERR_UNAVAILABLE;
    }
    for (size_t i = 0; i < keyring->count; i++) {
        if (strcmp(keyring->keys[i].kid, kid) == 0) {
            *ret_key = keyring->keys[i];
            ret_key->private_pem[0] = '\0';
            e = ERR_OK;
            break;
        }
    }
    pthread_rwlock_unlock(&keyring->lock);
    return e;
}
