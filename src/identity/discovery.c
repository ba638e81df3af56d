/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/discovery.h"

#include "base/json.h"
#include "identity/keyring.h"

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
    response_header(response, "Cache-Control", "public, max-age=300");
    return ERR_OK;
}
