/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/role.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"

struct word {
    const char *name;
    unsigned may;
};

static const struct word ROLES[] = {
    {"viewer", MAY_READ},
    {"member", MAY_READ | MAY_WRITE},
    {"admin", MAY_READ | MAY_WRITE | MAY_MANAGE},
    {"owner", MAY_READ | MAY_WRITE | MAY_MANAGE | MAY_OWN},
};

static const struct word SCOPES[] = {
    {"analytics:read", MAY_READ},
    {"events:write", MAY_WRITE},
    {"admin", MAY_READ | MAY_WRITE | MAY_MANAGE},
};

static unsigned find(const struct word *words, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i].name, name) == 0) {
            return words[i].may;
        }
    }
    return 0;
}

unsigned role_may(const char *role)
{
    return find(ROLES, ARRAY_SIZE(ROLES), role);
}

unsigned scope_may(const char *scope)
{
    return find(SCOPES, ARRAY_SIZE(SCOPES), scope);
}

bool role_can_be_given(const char *role)
{
    unsigned may = role_may(role);
    return may && !(may & MAY_OWN);
}
