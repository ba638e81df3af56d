/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libjwt checks a signature with the algorithm that the token's own header names and a key that
 * the caller hands over, so an HS256 token "signed" with our public key would pass. Therefore the
 * header is read first, by us: the algorithm must be ES256 and the key id one of ours. libjwt
 * checks no claim; all of them are checked here.
 */
#include "identity/token.h"

#include <errno.h>
#include <jwt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"

static void jwt_cleanup(jwt_t **jwt)
{
    jwt_free(*jwt);
}
#define JWT_AUTO __attribute__((cleanup(jwt_cleanup))) jwt_t *

static bool add_claims(jwt_t *jwt, const struct config *config, const struct principal *principal,
                       int64_t now_s, struct arena *arena)
{
    char session[UUID_TEXT_SIZE];
    char jti[UUID_TEXT_SIZE];
    uint8_t uuid[16];
    uuid_format(principal->session_id, session);
    uuid_v7(uuid);
    uuid_format(uuid, jti);
    return jwt_add_grant(jwt, "iss", config->issuer) == 0 &&
           jwt_add_grant(jwt, "aud", config->audience) == 0 &&
           jwt_add_grant(jwt, "sub", arena_printf(arena, "%lld", (long long)principal->user_id)) == 0 &&
           jwt_add_grant(jwt, "sid", session) == 0 &&
           jwt_add_grant_int(jwt, "ws", principal->workspace_id) == 0 &&
           jwt_add_grant_int(jwt, "iat", now_s) == 0 && jwt_add_grant_int(jwt, "nbf", now_s) == 0 &&
           jwt_add_grant_int(jwt, "exp", now_s + config->access_token_ttl_s) == 0 &&
           jwt_add_grant(jwt, "jti", jti) == 0;
}

enum err token_issue(struct keyring *keyring, const struct config *config, const struct principal *principal,
                     struct arena *arena, const char **ret_token)
{
    struct keyring_key key;
    enum err e = keyring_signer(keyring, &key);
    if (e) {
        return e;
    }
    JWT_AUTO jwt = NULL;
    int64_t now_s = clock_now_us() / USEC_PER_SEC;
    char *encoded = NULL;
    if (jwt_new(&jwt) == 0 && jwt_add_header(jwt, "kid", key.kid) == 0 &&
        add_claims(jwt, config, principal, now_s, arena) &&
        jwt_set_alg(jwt, JWT_ALG_ES256, (const unsigned char *)key.private_pem,
                    (int)strlen(key.private_pem)) == 0) {
        encoded = jwt_encode_str(jwt);
    }
    crypto_wipe(&key, sizeof(key));
    if (!encoded) {
        return ERR_INTERNAL;
    }
    *ret_token = arena_strdup(arena, encoded);
    free(encoded);
    return ERR_OK;
}

/* Read alg and kid from the header, before libjwt gets to see the token. */
static bool read_header(const char *token, char ret_kid[KEYRING_KID_SIZE])
{
    uint8_t text[TOKEN_MAX_BYTES];
    size_t length;
    struct json_fault fault;
    JSON_AUTO header = NULL;
    struct json_object *member;

    size_t encoded = strcspn(token, ".");
    if (!crypto_base64url_decode(token, encoded, text, &length) ||
        !json_parse((const char *)text, length, &header, &fault) ||
        !json_object_is_type(header, json_type_object)) {
        return false;
    }
    if (!json_object_object_get_ex(header, "alg", &member) ||
        !json_object_is_type(member, json_type_string) ||
        strcmp(json_object_get_string(member), "ES256") != 0) {
        return false;
    }
    /* RFC 7515 section 4.1.11: an extension that must be understood and is not. */
    if (json_object_object_get_ex(header, "crit", &member)) {
        return false;
    }
    if (!json_object_object_get_ex(header, "kid", &member) ||
        !json_object_is_type(member, json_type_string) ||
        json_object_get_string_len(member) >= KEYRING_KID_SIZE) {
        return false;
    }
    snprintf(ret_kid, KEYRING_KID_SIZE, "%s", json_object_get_string(member));
    return true;
}

/* libjwt decodes leniently: padding, further parts and foreign characters pass. RFC 7515 allows one
 * text only: three parts in base64url. An ES256 signature is 64 bytes (RFC 7518 section 3.4). */
static bool has_strict_form(const char *token)
{
    enum { SIGNATURE_SIZE = 64 };
    uint8_t bytes[TOKEN_MAX_BYTES];
    size_t length = 0;
    for (int part = 0; part < 3; part++) {
        size_t encoded = strcspn(token, ".");
        if (encoded == 0 || !crypto_base64url_decode(token, encoded, bytes, &length)) {
            return false;
        }
        token += encoded;
        if (*token != (part < 2 ? '.' : '\0')) {
            return false;
        }
        token += part < 2;
    }
    return length == SIGNATURE_SIZE;
}

static bool grant_equals(jwt_t *jwt, const char *name, const char *expected)
{
    const char *value = jwt_get_grant(jwt, name);
    return value && strcmp(value, expected) == 0;
}

/* A time or number above zero; false when it is missing or none (libjwt reads a string as 0). */
static bool grant_int(jwt_t *jwt, const char *name, int64_t *ret_value)
{
    errno = 0;
    *ret_value = jwt_get_grant_int(jwt, name);
    return errno == 0 && *ret_value > 0;
}

const char *token_claims_outside(const struct token_claims *claims, int64_t now_s)
{
    if (now_s >= claims->expires_s) {
        return "the token has expired";
    }
    if (claims->not_before_s > now_s + TOKEN_CLOCK_SKEW_S) {
        return "the token is not valid yet";
    }
    return NULL;
}

static const char *read_claims(jwt_t *jwt, const struct config *config, int64_t now_s,
                               struct token_claims *ret_claims)
{
    struct principal *principal = &ret_claims->principal;
    int64_t iat, nbf;
    const char *sub = jwt_get_grant(jwt, "sub");
    const char *sid = jwt_get_grant(jwt, "sid");
    const char *jti = jwt_get_grant(jwt, "jti");

    if (!grant_equals(jwt, "iss", config->issuer)) {
        return "the issuer is another";
    }
    if (!grant_equals(jwt, "aud", config->audience)) {
        return "the audience is another";
    }
    if (!grant_int(jwt, "exp", &ret_claims->expires_s)) {
        return "the token has expired";
    }
    if (!grant_int(jwt, "iat", &iat) || !grant_int(jwt, "nbf", &nbf)) {
        return "the token is not valid yet";
    }
    ret_claims->not_before_s = iat > nbf ? iat : nbf;
    const char *outside = token_claims_outside(ret_claims, now_s);
    if (outside) {
        return outside;
    }
    char *end;
    errno = 0;
    principal->user_id = sub ? strtoll(sub, &end, 10) : 0;
    if (!sub || *end || errno || principal->user_id <= 0 || !sid || !uuid_parse(sid, principal->session_id) ||
        !jti || !*jti || !grant_int(jwt, "ws", &principal->workspace_id) || principal->workspace_id <= 0) {
        return "a claim is missing";
    }
    return NULL;
}

enum err token_verify(struct keyring *keyring, const struct config *config, const char *token, int64_t now_s,
                      struct token_claims *ret_claims, const char **ret_reason)
{
    struct keyring_key key;
    char kid[KEYRING_KID_SIZE];
    JWT_AUTO jwt = NULL;

    *ret_reason = "the token is malformed";
    size_t length = strnlen(token, TOKEN_MAX_BYTES + 1);
    if (length > TOKEN_MAX_BYTES || !has_strict_form(token) || !read_header(token, kid)) {
        return ERR_UNAUTHENTICATED;
    }
    enum err e = keyring_find(keyring, kid, &key);
    if (e) {
        *ret_reason = "the token was signed with an unknown key";
        return e == ERR_NOT_FOUND ? ERR_UNAUTHENTICATED : e;
    }
    if (jwt_decode(&jwt, token, (const unsigned char *)key.public_pem, (int)strlen(key.public_pem)) != 0 ||
        jwt_get_alg(jwt) != JWT_ALG_ES256) {
        *ret_reason = "the signature is wrong";
        return ERR_UNAUTHENTICATED;
    }
    struct token_claims claims = {0};
    *ret_reason = read_claims(jwt, config, now_s, &claims);
    if (*ret_reason) {
        return ERR_UNAUTHENTICATED;
    }
    *ret_claims = claims;
    return ERR_OK;
}
