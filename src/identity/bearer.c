/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/bearer.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/challenge.h"
#include "http/router.h"
#include "identity/apikey.h"
#include "identity/revocations.h"
#include "identity/right.h"
#include "identity/token_cache.h"

static const char SCHEME[] = "Bearer ";

/* Whom a token speaks for. *ret_reason says why it is refused with ERR_UNAUTHENTICATED. */
static enum err check_token(const struct services *services, const char *token,
                            struct principal *ret_principal, const char **ret_reason)
{
    enum err e = token_cache_verify(services->token_cache, services->config, token,
                                    clock_now_us() / USEC_PER_SEC, ret_principal, ret_reason);
    if (!e) {
        *ret_reason = "the token was revoked, or its session has ended";
        e = revocations_check(services->revocations, ret_principal->grant_id, ret_principal->token_id);
    }
    return e;
}

static bool route_takes(const struct request *request, const struct principal *principal)
{
    static const unsigned ACCESS_OF[] = {[PRINCIPAL_USER] = ACCESS_USER | ACCESS_ADMIN,
                                         [PRINCIPAL_SERVICE] = ACCESS_SERVICE,
                                         [PRINCIPAL_KEY] = ACCESS_KEY};
    unsigned kind = ACCESS_OF[principal->kind];
    return !request->route || request->route->access == ACCESS_PUBLIC || (request->route->access & kind);
}

static enum err check_key(struct request *request, const char *key, struct principal *ret_principal,
                          const char **ret_reason)
{
    struct right right;
    enum err e = right_of_key(request, key, &right);
    if (e) {
        *ret_reason = "there is no such key, or it has expired";
        return e == ERR_NOT_FOUND ? ERR_UNAUTHENTICATED : e;
    }
    *ret_principal = (struct principal){.kind = PRINCIPAL_KEY,
                                        .user_id = right.user_id,
                                        .workspace_id = right.workspace_id,
                                        .may = right.may,
                                        .per_second = right.per_second,
                                        .burst = right.burst,
                                        .slug = arena_strdup(request->arena, right.slug)};
    memcpy(ret_principal->grant_id, right.key_id, sizeof(ret_principal->grant_id));
    return ERR_OK;
}

static bool is_key(const char *text)
{
    return strncmp(text, APIKEY_PREFIX, strlen(APIKEY_PREFIX)) == 0;
}

/* A token in X-Service-Token that is not a service's is 403, not 401: who sends that header means to be one.
 */
static enum err authenticate_service(struct request *request, const char *token)
{
    const char *reason = NULL;
    struct principal principal;
    enum err e = check_token(request->services, token, &principal, &reason);
    if (e == ERR_UNAUTHENTICATED || (!e && principal.kind != PRINCIPAL_SERVICE)) {
        return problem_say(&request->problem, ERR_FORBIDDEN, "X-Service-Token is refused: %s.",
                           e ? reason : "it is no service's token");
    }
    if (!e) {
        request->principal = principal;
    }
    return e;
}

enum err bearer_authenticate(struct request *request, struct response *response)
{
    const char *header = request_variable(request, "HTTP_AUTHORIZATION");
    const char *service_token = request_variable(request, "HTTP_X_SERVICE_TOKEN");
    const char *key = request_variable(request, "HTTP_X_API_KEY");
    const char *reason = NULL;
    struct principal principal;

    if (!header && service_token && request->route && (request->route->access & ACCESS_SERVICE)) {
        return authenticate_service(request, service_token);
    }
    const char *token = header ? header : key;
    if (header && strncasecmp(header, SCHEME, sizeof(SCHEME) - 1) == 0) {
        token = header + sizeof(SCHEME) - 1;
        token += strspn(token, " ");
    } else if (header || !key) {
        return challenge_bearer(request, response, NULL);
    }
    enum err e = is_key(token) || !header ? check_key(request, token, &principal, &reason)
                                          : check_token(request->services, token, &principal, &reason);
    if (e == ERR_UNAUTHENTICATED) {
        return challenge_bearer(request, response, reason);
    }
    if (!e && !route_takes(request, &principal)) {
        static const char *const WORDS[] = {[PRINCIPAL_USER] = "Only services may do this.",
                                            [PRINCIPAL_SERVICE] = "Services may not do this.",
                                            [PRINCIPAL_KEY] =
                                                "This takes a person who has logged in, not a key."};
        return challenge_scope(request, response, WORDS[principal.kind]);
    }
    if (!e) {
        request->principal = principal;
    }
    return e;
}
