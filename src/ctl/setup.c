/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl setup EMAIL: the first administrator. */
#include <stdio.h>

#include "base/json.h"
#include "ctl/call.h"
#include "identity/user.h"

int ctl_setup(struct ctl *ctl, int argc, char **argv)
{
    const struct ctl_call call = {.handler = user_list, .query = "role=admin&is_active=true&limit=1"};
    JSON_AUTO answer = NULL;
    struct json_object *items = NULL;
    if (argc != 2) {
        return ctl_usage(argv[0]);
    }
    int code = ctl_call(ctl, &call, &answer);
    if (code) {
        return code;
    }
    if (json_object_object_get_ex(answer, "items", &items) && json_object_array_length(items) > 0) {
        fputs("tallygatectl: there is an administrator already; see tallygatectl user\n", stderr);
        return CTL_FAILED;
    }
    return ctl_user_add(ctl, argv[1], NULL, true);
}
