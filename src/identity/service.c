/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/service.h"

#include <openssl/crypto.h>
#include <string.h>

static const char PREFIX[] = "tgs_";
enum { SECRET_BYTES = 32, COLUMN_NAME = 0, COLUMN_HASH };

/* All three by an administrator at a shell, so the entries have no actor. */
#define NOTE(action)                                                  \
    "INSERT INTO audit_log (action, subject, detail) SELECT '" action \
    "', 'service:' || id, jsonb_build_object('name', name) FROM done RETURNING substr(subject, 9)"
static const struct pg_statement ADD = {
    "service_add", "WITH done AS (INSERT INTO services (id, name, secret_hash) VALUES ($1::uuid, $2, $3) "
                   "RETURNING id, name) " NOTE("service.added")};
static const struct pg_statement RENEW = {
    "service_renew", "WITH done AS (UPDATE services SET secret_hash = $2, renewed_at = now() WHERE name = $1 "
                     "RETURNING id, name) " NOTE("service.renewed")};
static const struct pg_statement REMOVE = {
    "service_remove",
    "WITH done AS (DELETE FROM services WHERE name = $1 RETURNING id, name) " NOTE("service.removed")};
static const struct pg_statement LIST = {"service_list", "SELECT id, name, " PG_US("created_at") ", " PG_US(
                                                             "renewed_at") " FROM services ORDER BY name"};
static const struct pg_statement SECRET = {
    "service_secret", "SELECT name, encode(secret_hash, 'hex') FROM services WHERE id = $1::uuid"};

bool service_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= SERVICE_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == length;
}

static void hash_secret(const char *secret, uint8_t ret_hash[CRYPTO_SHA256_SIZE])
{
    crypto_sha256(secret, strlen(secret), ret_hash);
}

static void draw_secret(struct service_credentials *credentials, uint8_t ret_hash[CRYPTO_SHA256_SIZE])
{
    uint8_t bytes[SECRET_BYTES];
    crypto_random(bytes, sizeof(bytes));
    memcpy(credentials->secret, PREFIX, sizeof(PREFIX) - 1);
    crypto_base64url(bytes, sizeof(bytes), credentials->secret + sizeof(PREFIX) - 1);
    crypto_wipe(bytes, sizeof(bytes));
    hash_secret(credentials->secret, ret_hash);
}

enum err service_add(struct pg *pg, const char *name, struct service_credentials *ret_credentials)
{
    uint8_t id[16];
    uint8_t hash[CRYPTO_SHA256_SIZE];
    struct pg_params params = {0};
    struct service_credentials credentials;

    uuid_v7(id);
    uuid_format(id, credentials.client_id);
    draw_secret(&credentials, hash);
    pg_text(&params, credentials.client_id);
    pg_text(&params, name);
    pg_bytes(&params, hash, sizeof(hash));
    enum err e = pg_query(pg, &ADD, &params, NULL);
    if (!e) {
        *ret_credentials = credentials;
    }
    crypto_wipe(&credentials, sizeof(credentials));
    return e;
}

enum err service_renew(struct pg *pg, const char *name, struct service_credentials *ret_credentials)
{
    uint8_t hash[CRYPTO_SHA256_SIZE];
    struct pg_params params = {0};
    struct service_credentials credentials;
    PG_RESULT_AUTO result = NULL;

    draw_secret(&credentials, hash);
    pg_text(&params, name);
    pg_bytes(&params, hash, sizeof(hash));
    enum err e = pg_query(pg, &RENEW, &params, &result);
    if (!e && PQntuples(result) == 0) {
        e = ERR_NOT_FOUND;
    }
    if (!e) {
        memcpy(credentials.client_id, pg_get_text(result, 0, 0), UUID_TEXT_SIZE);
        *ret_credentials = credentials;
    }
    crypto_wipe(&credentials, sizeof(credentials));
    return e;
}

enum err service_remove(struct pg *pg, const char *name)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_text(&params, name);
    enum err e = pg_query(pg, &REMOVE, &params, &result);
    return e ? e : PQntuples(result) ? ERR_OK : ERR_NOT_FOUND;
}

enum err service_list(struct pg *pg, PGresult **ret_result)
{
    return pg_query(pg, &LIST, NULL, ret_result);
}

enum err service_authenticate(struct pg *pg, const char *client_id, const char *secret,
                              struct service *ret_service)
{
    uint8_t hash[CRYPTO_SHA256_SIZE];
    char hex[2 * CRYPTO_SHA256_SIZE + 1];
    struct service service = {0};
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;

    if (!uuid_parse(client_id, service.id)) {
        return ERR_UNAUTHENTICATED;
    }
    pg_text(&params, client_id);
    enum err e = pg_query(pg, &SECRET, &params, &result);
    if (e) {
        return e;
    }
    hash_secret(secret, hash);
    crypto_hex(hash, sizeof(hash), hex);
    if (PQntuples(result) == 0 || CRYPTO_memcmp(pg_get_text(result, 0, COLUMN_HASH), hex, sizeof(hex)) != 0) {
        return ERR_UNAUTHENTICATED;
    }
    const char *name = pg_get_text(result, 0, COLUMN_NAME);
    memcpy(service.name, name, strnlen(name, SERVICE_NAME_MAX));
    *ret_service = service;
    return ERR_OK;
}
