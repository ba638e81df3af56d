/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/bearer.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/challenge.h"
#include "identity/revocations.h"
#include "identity/token_cache.h"

enum err bearer_authenticate(struct request *request, struct response *response)
{
    static const char SCHEME[] = "Bearer ";
    const struct services *services = request->services;
    const char *header = request_variable(request, "HTTP_AUTHORIZATION");
    const char *reason = NULL;
    struct principal principal;

    if (!header || strncasecmp(header, SCHEME, sizeof(SCHEME) - 1) != 0) {
        return challenge_bearer(request, response, NULL);
    }
    const char *token = header + sizeof(SCHEME) - 1;
    token += strspn(token, " ");
    enum err e = token_cache_verify(services->token_cache, services->config, token,
                                    clock_now_us() / USEC_PER_SEC, &principal, &reason);
    if (e == ERR_UNAUTHENTICATED) {
        return challenge_bearer(request, response, reason);
    }
    if (!e) {
        e = revocations_check(services->revocations, principal.session_id);
    }
    if (e == ERR_UNAUTHENTICATED) {
        return challenge_bearer(request, response, "the session has ended");
    }
    if (!e) {
        request->principal = principal;
    }
    return e;
}
