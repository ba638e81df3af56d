/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl audit: what GET /admin/audit answers. */
#include <getopt.h>
#include <stdio.h>

#include "base/json.h"
#include "ctl/call.h"
#include "ctl/print.h"
#include "identity/audit.h"

int ctl_audit(struct ctl *ctl, int argc, char **argv)
{
    static const struct option OPTIONS[] = {{"action", required_argument, NULL, 'a'},
                                            {"actor", required_argument, NULL, 'u'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"since", required_argument, NULL, 'f'},
                                            {"subject", required_argument, NULL, 's'},
                                            {"until", required_argument, NULL, 't'},
                                            {NULL, 0, NULL, 0}};
    struct buf query;
    JSON_AUTO answer = NULL;
    int option;
    buf_init(&query, 4096);
    optind = 0;
    while ((option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'a':
            ctl_query_add(&query, "action", optarg);
            break;
        case 'u':
            ctl_query_add(&query, "actor", optarg);
            break;
        case 'l':
            ctl_query_add(&query, "limit", optarg);
            break;
        case 'f':
            ctl_query_add(&query, "start", optarg);
            break;
        case 's':
            ctl_query_add(&query, "subject", optarg);
            break;
        case 't':
            ctl_query_add(&query, "end", optarg);
            break;
        default:
            buf_free(&query);
            return CTL_USAGE;
        }
    }
    const struct ctl_call call = {.handler = audit_list, .query = buf_text(&query)};
    int code = optind == argc ? ctl_call(ctl, &call, &answer) : ctl_usage(argv[0]);
    if (!code) {
        ctl_print(ctl, answer, "there are none");
    }
    buf_free(&query);
    return code;
}
