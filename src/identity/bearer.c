/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/bearer.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/challenge.h"
#include "http/router.h"
#include "identity/revocations.h"
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
    unsigned kind = principal->kind == PRINCIPAL_SERVICE ? ACCESS_SERVICE : ACCESS_USER | ACCESS_ADMIN;
    return !request->route || request->route->access == ACCESS_PUBLIC || (request->route->access & kind);
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
    const char *reason = NULL;
    struct principal principal;

    if (!header && service_token && request->route && (request->route->access & ACCESS_SERVICE)) {
        return authenticate_service(request, service_token);
    }
    if (!header || strncasecmp(header, SCHEME, sizeof(SCHEME) - 1) != 0) {
        return challenge_bearer(request, response, NULL);
    }
    const char *token = header + sizeof(SCHEME) - 1;
    token += strspn(token, " ");
    enum err e = check_token(request->services, token, &principal, &reason);
    if (e == ERR_UNAUTHENTICATED) {
        return challenge_bearer(request, response, reason);
    }
    if (!e && !route_takes(request, &principal)) {
        return challenge_scope(request, response,
                               principal.kind == PRINCIPAL_SERVICE ? "Services may not do this."
                                                                   : "Only services may do this.");
    }
    if (!e) {
        request->principal = principal;
    }
    return e;
}
