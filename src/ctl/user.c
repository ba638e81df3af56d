/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl user role EMAIL user|admin */
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "identity/account.h"

int ctl_user(struct ctl *ctl, int argc, char **argv)
{
    bool known_role = argc == 4 && (strcmp(argv[3], "user") == 0 || strcmp(argv[3], "admin") == 0);
    if (!known_role || strcmp(argv[1], "role") != 0) {
        return ctl_usage(argv[0]);
    }
    enum err e = account_set_role(ctl->pg, argv[2], argv[3]);
    if (e == ERR_NOT_FOUND) {
        fprintf(stderr, "tallygatectl: there is no account %s\n", argv[2]);
        return CTL_NOT_FOUND;
    }
    if (e) {
        return ctl_database_failed("user role");
    }
    printf("%s is now %s\n", argv[2], argv[3]);
    return CTL_OK;
}
