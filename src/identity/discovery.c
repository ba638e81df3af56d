/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/discovery.h"

#include <string.h>

#include "base/json.h"
#include "identity/keyring.h"

enum { KEPT_S = 300 };

static void add_list(struct json_object *answer, const char *name, const char *const *words)
{
    struct json_object *list = json_object_new_array();
    for (; *words; words++) {
        json_object_array_add(list, json_object_new_string(*words));
    }
    json_add(answer, name, list);
}

static void add_endpoint(struct request *request, struct json_object *answer, const char *name,
                         const char *path)
{
    const char *issuer = request->services->config->issuer;
    int length = (int)strlen(issuer);
    length -= length > 0 && issuer[length - 1] == '/';
    json_add_string(answer, name, arena_printf(request->arena, "%.*s%s", length, issuer, path));
}

enum err discovery_metadata(struct request *request, struct response *response)
{
    static const char *const GRANTS[] = {"client_credentials", "refresh_token", "password", NULL};
    static const char *const GRANTS_WITHOUT[] = {"client_credentials", "refresh_token", NULL};
    static const char *const TOKEN_METHODS[] = {"client_secret_basic", "client_secret_post", "none", NULL};
    static const char *const ASK_METHODS[] = {"client_secret_basic", "client_secret_post", "Bearer", NULL};
    static const char *const NOTHING[] = {NULL};
    JSON_AUTO answer = json_object_new_object();

    json_add_string(answer, "issuer", request->services->config->issuer);
    add_endpoint(request, answer, "token_endpoint", "/token");
    add_endpoint(request, answer, "revocation_endpoint", "/oauth/revoke");
    add_endpoint(request, answer, "introspection_endpoint", "/oauth/introspect");
    add_endpoint(request, answer, "jwks_uri", "/.well-known/jwks.json");
    add_list(answer, "grant_types_supported",
             request->services->config->password_grant ? GRANTS : GRANTS_WITHOUT);
    /* There is no authorization endpoint. RFC 8414 requires the member, and elsewhere forbids empty ones. */
    add_list(answer, "response_types_supported", NOTHING);
    add_list(answer, "token_endpoint_auth_methods_supported", TOKEN_METHODS);
    add_list(answer, "revocation_endpoint_auth_methods_supported", TOKEN_METHODS);
    add_list(answer, "introspection_endpoint_auth_methods_supported", ASK_METHODS);
    response_json(response, 200, answer);
    response_header(response, "Cache-Control", arena_printf(request->arena, "public, max-age=%d", KEPT_S));
    return ERR_OK;
}

enum err discovery_jwks(struct request *request, struct response *response)
{
    struct keyring_key *keys = arena_alloc(request->arena, KEYRING_KEYS_MAX * sizeof(*keys));
    size_t count = keyring_public(request->services->keyring, keys);
    if (count == 0) {
        return ERR_UNAVAILABLE; /* an empty set would make verifiers refuse everybody */
    }
    JSON_AUTO answer = json_object_new_object();
    struct json_object *set = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json_object *key = json_object_new_object();
        json_add_string(key, "kty", "EC");
        json_add_string(key, "crv", "P-256");
        json_add_string(key, "x", keys[i].x);
        json_add_string(key, "y", keys[i].y);
        json_add_string(key, "kid", keys[i].kid);
        json_add_string(key, "use", "sig");
        json_add_string(key, "alg", "ES256");
        json_object_array_add(set, key);
    }
    json_add(answer, "keys", set);
    response_json(response, 200, answer);
    response->content_type = "application/jwk-set+json";
    response_header(response, "Cache-Control", arena_printf(request->arena, "public, max-age=%d", KEPT_S));
    return ERR_OK;
}
