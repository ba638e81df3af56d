/* SPDX-License-Identifier: Apache-2.0 */
#include "http/challenge.h"

enum err challenge_bearer(struct request *request, struct response *response, const char *reason)
{
    if (!reason) {
        /* No error code: the client did not know that it needs a token. */
        response_header(response, "WWW-Authenticate", "Bearer realm=\"tallygate\"");
        return problem_say(&request->problem, ERR_UNAUTHENTICATED,
                           "Send an access token in the header Authorization: Bearer TOKEN.");
    }
    response_header(
        response, "WWW-Authenticate",
        arena_printf(request->arena,
                     "Bearer realm=\"tallygate\", error=\"invalid_token\", error_description=\"%s\"",
                     reason));
    return problem_say(&request->problem, ERR_UNAUTHENTICATED, "The access token is refused: %s.", reason);
}

enum err challenge_scope(struct request *request, struct response *response, const char *detail)
{
    response_header(response, "WWW-Authenticate", "Bearer realm=\"tallygate\", error=\"insufficient_scope\"");
    return problem_say(&request->problem, ERR_FORBIDDEN, "%s", detail);
}
