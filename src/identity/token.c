/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens are made and read here, with json-c and OpenSSL, and not by libjwt: the version of Debian 12 writes
 * `typ: JWT` over whatever it is told, and refuses to decode any other, while RFC 9068 wants `at+jwt`. It
 * would also check a signature with the algorithm that the token's own header names, and no claim at all.
 *
 * There is one form, and one algorithm: three parts in base64url, ES256, a key id of ours. Nothing in the
 * header chooses anything but the key.
 */
#include "identity/token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"

/* RFC 9068 section 2.1: no other kind of JWT, such as an ID token that was signed with the same key, is taken
 * for an access token. */
static const char TYPE[] = "at+jwt";
static const char TYPE_IN_FULL[] = "application/at+jwt"; /* RFC 7515 section 4.1.9 */

const char TOKEN_FIRST_PARTY[] = "tallygate";

static const char TYPE_SERVICE[] = "service";

static struct json_object *make_header(const struct keyring_key *key)
{
    struct json_object *header = json_object_new_object();
    json_add_string(header, "alg", "ES256");
    json_add_string(header, "typ", TYPE);
    json_add_string(header, "kid", key->kid);
    return header;
}

static struct json_object *make_claims(const struct config *config, const struct principal *principal,
                                       const char *service_name, int64_t now_s, struct arena *arena)
{
    char grant[UUID_TEXT_SIZE];
    char jti[UUID_TEXT_SIZE];
    uint8_t uuid[16];
    struct json_object *claims = json_object_new_object();
    uuid_format(principal->grant_id, grant);
    uuid_v7(uuid);
    uuid_format(uuid, jti);
    json_add_string(claims, "iss", config->issuer);
    json_add_string(claims, "aud", config->audience);
    if (principal->kind == PRINCIPAL_SERVICE) {
        json_add_string(claims, "sub", grant); /* RFC 9068 section 2.2: there is no resource owner */
        json_add_string(claims, "client_id", grant);
        json_add_string(claims, "type", TYPE_SERVICE);
        json_add_string(claims, "name", service_name);
    } else {
        json_add_string(claims, "sub", arena_printf(arena, "%lld", (long long)principal->user_id));
        json_add_string(claims, "client_id", TOKEN_FIRST_PARTY);
        json_add_int(claims, "ws", principal->workspace_id);
    }
    json_add_string(claims, "sid", grant);
    json_add_int(claims, "iat", now_s);
    json_add_int(claims, "nbf", now_s);
    json_add_int(claims, "exp", now_s + config->access_token_ttl_s);
    json_add_string(claims, "jti", jti);
    return claims;
}

/* One part in base64url, at `end`; returns where it ends. */
static char *put_part(char *end, struct json_object *part)
{
    size_t length;
    const char *text = json_text(part, &length);
    return end + crypto_base64url((const uint8_t *)text, length, end);
}

enum err token_issue(struct keyring *keyring, const struct config *config, const struct principal *principal,
                     const char *service_name, struct arena *arena, const char **ret_token)
{
    struct keyring_key key;
    uint8_t signature[CRYPTO_ES256_SIZE];
    enum err e = keyring_signer(keyring, &key);
    if (e) {
        return e;
    }
    JSON_AUTO header = make_header(&key);
    JSON_AUTO claims = make_claims(config, principal, service_name, clock_now_us() / USEC_PER_SEC, arena);
    char *token = arena_alloc(arena, TOKEN_MAX_BYTES); /* issuer and audience have 255 bytes at the most */
    char *end = put_part(token, header);
    *end++ = '.';
    end = put_part(end, claims);
    bool made = crypto_es256_sign(key.private_pem, token, (size_t)(end - token), signature);
    crypto_wipe(&key, sizeof(key));
    if (!made) {
        return ERR_INTERNAL;
    }
    *end++ = '.';
    (void)crypto_base64url(signature, sizeof(signature), end);
    *ret_token = token;
    return ERR_OK;
}

/* A member that is a text without U+0000; else NULL. */
static const char *text_of(struct json_object *object, const char *name)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member) || !json_object_is_type(member, json_type_string)) {
        return NULL;
    }
    const char *text = json_object_get_string(member);
    return strlen(text) == (size_t)json_object_get_string_len(member) ? text : NULL;
}

static bool text_is(struct json_object *object, const char *name, const char *expected)
{
    const char *text = text_of(object, name);
    return text && strcmp(text, expected) == 0;
}

/* A whole number above zero; false when it is missing or none. */
static bool read_number(struct json_object *object, const char *name, int64_t *ret_value)
{
    struct json_object *member;
    if (!json_object_object_get_ex(object, name, &member) || !json_object_is_type(member, json_type_int)) {
        return false;
    }
    *ret_value = json_object_get_int64(member);
    return *ret_value > 0;
}

/* What a token consists of. */
struct parts {
    size_t signed_length; /* of the text that the signature is over */
    struct json_object *header;
    struct json_object *claims;
    uint8_t signature[CRYPTO_ES256_SIZE];
};

static void parts_cleanup(struct parts *parts)
{
    json_object_put(parts->header);
    json_object_put(parts->claims);
}
#define PARTS_AUTO __attribute__((cleanup(parts_cleanup))) struct parts

/* Decode one part, which ends before `stop`; returns where the next begins, or NULL. */
static const char *read_bytes(const char *token, char stop, uint8_t *ret_bytes, size_t *ret_length)
{
    size_t encoded = strcspn(token, ".");
    if (encoded == 0 || token[encoded] != stop ||
        !crypto_base64url_decode(token, encoded, ret_bytes, ret_length)) {
        return NULL;
    }
    return token + encoded + (stop != '\0');
}

static const char *read_object(const char *token, struct json_object **ret_object)
{
    uint8_t bytes[TOKEN_MAX_BYTES];
    size_t length;
    struct json_fault fault;
    const char *next = read_bytes(token, '.', bytes, &length);
    bool read = next && json_parse((const char *)bytes, length, ret_object, &fault);
    return read && json_object_is_type(*ret_object, json_type_object) ? next : NULL;
}

/* RFC 7515 allows one text only: three parts in base64url. An ES256 signature is 64 bytes (RFC 7518
 * section 3.4). */
static bool read_parts(const char *token, struct parts *ret_parts)
{
    uint8_t bytes[TOKEN_MAX_BYTES];
    size_t length;
    const char *claims = read_object(token, &ret_parts->header);
    const char *signature = claims ? read_object(claims, &ret_parts->claims) : NULL;
    if (!signature || !read_bytes(signature, '\0', bytes, &length) || length != CRYPTO_ES256_SIZE) {
        return false;
    }
    ret_parts->signed_length = (size_t)(signature - 1 - token);
    memcpy(ret_parts->signature, bytes, CRYPTO_ES256_SIZE);
    return true;
}

static bool header_is_ours(struct json_object *header)
{
    struct json_object *extension;
    const char *type = text_of(header, "typ");
    return text_is(header, "alg", "ES256") && type &&
           (strcasecmp(type, TYPE) == 0 || strcasecmp(type, TYPE_IN_FULL) == 0) &&
           /* RFC 7515 section 4.1.11: an extension that must be understood and is not. */
           !json_object_object_get_ex(header, "crit", &extension);
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

/* Whom the token speaks for. */
static bool read_principal(struct json_object *claims, struct principal *ret_principal)
{
    struct json_object *type;
    char *end;
    const char *sub = text_of(claims, "sub");
    const char *sid = text_of(claims, "sid");
    const char *jti = text_of(claims, "jti");
    if (!sub || !sid || !uuid_parse(sid, ret_principal->grant_id) || !jti ||
        !uuid_parse(jti, ret_principal->token_id)) {
        return false;
    }
    if (json_object_object_get_ex(claims, "type", &type)) {
        ret_principal->kind = PRINCIPAL_SERVICE;
        return text_is(claims, "type", TYPE_SERVICE) && strcmp(sub, sid) == 0;
    }
    ret_principal->kind = PRINCIPAL_USER;
    errno = 0;
    ret_principal->user_id = strtoll(sub, &end, 10);
    return !*end && !errno && ret_principal->user_id > 0 &&
           read_number(claims, "ws", &ret_principal->workspace_id);
}

static const char *read_claims(struct json_object *claims, const struct config *config, int64_t now_s,
                               struct token_claims *ret_claims)
{
    int64_t iat, nbf;

    if (!text_is(claims, "iss", config->issuer)) {
        return "the issuer is another";
    }
    if (!text_is(claims, "aud", config->audience)) {
        return "the audience is another";
    }
    if (!read_number(claims, "exp", &ret_claims->expires_s)) {
        return "the token has expired";
    }
    if (!read_number(claims, "iat", &iat) || !read_number(claims, "nbf", &nbf)) {
        return "the token is not valid yet";
    }
    ret_claims->issued_s = iat;
    ret_claims->not_before_s = iat > nbf ? iat : nbf;
    const char *outside = token_claims_outside(ret_claims, now_s);
    if (outside) {
        return outside;
    }
    return read_principal(claims, &ret_claims->principal) ? NULL : "a claim is missing";
}

enum err token_verify(struct keyring *keyring, const struct config *config, const char *token, int64_t now_s,
                      struct token_claims *ret_claims, const char **ret_reason)
{
    struct keyring_key key;
    PARTS_AUTO parts = {0};

    *ret_reason = "the token is malformed";
    size_t length = strnlen(token, TOKEN_MAX_BYTES + 1);
    if (length > TOKEN_MAX_BYTES || !read_parts(token, &parts) || !header_is_ours(parts.header)) {
        return ERR_UNAUTHENTICATED;
    }
    const char *kid = text_of(parts.header, "kid");
    enum err e = keyring_find(keyring, kid ? kid : "", &key);
    if (e) {
        *ret_reason = "the token was signed with an unknown key";
        return e == ERR_NOT_FOUND ? ERR_UNAUTHENTICATED : e;
    }
    if (!crypto_es256_verify(key.public_pem, token, parts.signed_length, parts.signature)) {
        *ret_reason = "the signature is wrong";
        return ERR_UNAUTHENTICATED;
    }
    struct token_claims claims = {0};
    *ret_reason = read_claims(parts.claims, config, now_s, &claims);
    if (*ret_reason) {
        return ERR_UNAUTHENTICATED;
    }
    *ret_claims = claims;
    return ERR_OK;
}
