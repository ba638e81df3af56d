/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/client.h"

#include <string.h>
#include <strings.h>

#include "identity/token.h"

/* Longer than any id and secret, each of whose bytes may come as three (%2D). */
enum { BASIC_MAX = 512 };

enum err client_refuse(struct request *request, struct response *response, const char *why)
{
    response_header(response, "WWW-Authenticate", "Basic realm=\"tallygate\"");
    return problem_oauth(&request->problem, ERR_UNAUTHENTICATED, "invalid_client", "%s", why);
}

/* Both are form-encoded before they are joined and encoded once more (RFC 6749 section 2.3.1). */
static bool read_basic(struct request *request, const char *credentials, const char **ret_id,
                       const char **ret_secret)
{
    uint8_t decoded[BASIC_MAX];
    size_t length, ignored;
    if (!crypto_base64_decode(credentials, decoded, sizeof(decoded), &length)) {
        return false;
    }
    const char *text = (const char *)decoded;
    const char *colon = memchr(text, ':', length);
    if (!colon) {
        return false;
    }
    size_t id_length = (size_t)(colon - text);
    *ret_id = request_decode(request->arena, text, id_length, true, &ignored);
    *ret_secret = request_decode(request->arena, colon + 1, length - id_length - 1, true, &ignored);
    return *ret_id && *ret_secret;
}

enum err client_authenticate(struct request *request, struct response *response, const struct value *id,
                             const struct value *secret, struct client *ret_client)
{
    static const char SCHEME[] = "Basic ";
    const char *header = request_variable(request, "HTTP_AUTHORIZATION");
    const char *client_id = id->text;
    const char *client_secret = secret->text;

    if (header && strncasecmp(header, SCHEME, sizeof(SCHEME) - 1) == 0) {
        if (secret->present) {
            return problem_oauth(&request->problem, ERR_INVALID, "invalid_request",
                                 "Authenticate the client in one way, not two.");
        }
        if (!read_basic(request, header + sizeof(SCHEME) - 1, &client_id, &client_secret)) {
            return client_refuse(request, response, "The Authorization header is malformed.");
        }
        if (id->present && strcmp(id->text, client_id) != 0) {
            return problem_oauth(&request->problem, ERR_INVALID, "invalid_request",
                                 "client_id is another than that of the Authorization header.");
        }
    }
    *ret_client = (struct client){.is_service = false};
    if (!client_secret && (!client_id || strcmp(client_id, TOKEN_FIRST_PARTY) == 0)) {
        return ERR_OK;
    }
    enum err e = client_secret ? service_authenticate(request->services->pg, client_id ? client_id : "",
                                                      client_secret, &ret_client->service)
                               : ERR_UNAUTHENTICATED;
    ret_client->is_service = !e;
    return e == ERR_UNAUTHENTICATED ? client_refuse(request, response, "Client id or secret is wrong.") : e;
}
