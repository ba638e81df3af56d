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

bool pg_peer_user(const char *url, uid_t *ret_uid, gid_t *ret_gid)
{
    if (geteuid() != 0) {
        return false;
    }
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    if (!options) {
        return false;
    }
    const char *role = value_of(options, "user");
    bool local = *role && is_local(value_of(options, "host")) && !*value_of(options, "password");
    const struct passwd *user = local ? getpwnam(role) : NULL;
    bool found = user && user->pw_uid != 0;
    if (found) {
        *ret_uid = user->pw_uid;
        *ret_gid = user->pw_gid;
    }
    PQconninfoFree(options);
    return found;
}

bool pg_peer_enter(const char *url)
{
    uid_t uid;
    gid_t gid;
    return pg_peer_user(url, &uid, &gid) && seteuid(uid) == 0;
}

void pg_peer_leave(void)
{
    if (seteuid(0) != 0) {
        abort();
    }
}
