/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg_peer.h"

#include <libpq-fe.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword; options++) {
        if (strcmp(options->keyword, keyword) == 0) {
            return options->val ? options->val : "";
        }
    }
    return "";
}

/* Only sockets: no host, or paths alone. */
static bool is_local(const char *hosts)
{
    for (const char *host = hosts; *host; host += *host == ',') {
        if (*host != '/') {
            return false;
        }
        host += strcspn(host, ",");
    }
    return true;
}

bool pg_peer_enter(const char *url)
{
    if (geteuid() != 0) {
        return false;
    }
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options) {
        return false;
    }
    const char *role = value_of(options, "user");
    bool entered = false;
    if (*role && is_local(value_of(options, "host")) && !*value_of(options, "password")) {
        const struct passwd *user = getpwnam(role);
        entered = user && user->pw_uid != 0 && seteuid(user->pw_uid) == 0;
    }
    PQconninfoFree(options);
    return entered;
}

void pg_peer_leave(void)
{
    if (seteuid(0) != 0) {
        abort();
    }
}
