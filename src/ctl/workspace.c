/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl workspace purge */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "identity/account.h"

/* Pieces small enough to hold no lock for long. */
enum { PIECE_ROWS = 5000 };

int ctl_workspace(struct ctl *ctl, int argc, char **argv)
{
    int64_t total = 0, erased;
    if (argc != 2 || strcmp(argv[1], "purge") != 0) {
        return ctl_usage(argv[0]);
    }
    do {
        if (account_purge_closed(ctl->pg, PIECE_ROWS, &erased) != ERR_OK) {
            return ctl_database_failed("workspace purge");
        }
        total += erased;
    } while (erased > 0);
    if (ctl->json) {
        printf("{\"erased\":%" PRId64 "}\n", total);
    } else {
        printf("erased %" PRId64 " rows\n", total);
    }
    return CTL_OK;
}
