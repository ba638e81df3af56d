/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl audit: what GET /admin/audit answers. */
#include "identity/audit.h"
#include "base/json.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/print.h"

int ctl_audit(struct ctl *ctl, int argc, char **argv)
{
    enum { ACTION, ACTOR, LIMIT, SINCE, SUBJECT, UNTIL, COUNT };
    static const struct option OPTIONS[] = {{"action", required_argument, NULL, ACTION},
                                            {"actor", required_argument, NULL, ACTOR},
                                            {"limit", required_argument, NULL, LIMIT},
                                            {"since", required_argument, NULL, SINCE},
                                            {"subject", required_argument, NULL, SUBJECT},
                                            {"until", required_argument, NULL, UNTIL},
                                            {NULL, 0, NULL, 0}};
    static const char *const PARAMETERS[COUNT] = {"action", "actor", "limit", "start", "subject", "end"};
    const char *texts[COUNT];
    struct buf query;
    JSON_AUTO answer = NULL;
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    buf_init(&query, 4096);
    for (size_t i = 0; i < COUNT; i++) {
        ctl_query_add(&query, PARAMETERS[i], texts[i]);
    }
    const struct ctl_call call = {.handler = audit_list, .query = buf_text(&query)};
    int code = ctl_call(ctl, &call, &answer);
    if (!code) {
        ctl_print(ctl, answer, "there are none");
    }
    buf_free(&query);
    return code;
}
