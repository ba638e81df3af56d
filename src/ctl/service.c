/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl service add NAME | renew NAME | remove NAME | list */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "identity/service.h"

/* The secret goes to standard output, and nowhere else. */
static int show(struct service_credentials *credentials)
{
    printf("client_id      %s\nclient_secret  %s\n", credentials->client_id, credentials->secret);
    crypto_wipe(credentials, sizeof(*credentials));
    return CTL_OK;
}

static int list(struct ctl *ctl)
{
    PG_RESULT_AUTO result = NULL;
    if (service_list(ctl->pg, &result) != ERR_OK) {
        return ctl_database_failed("service list");
    }
    for (int row = 0; row < PQntuples(result); row++) {
        char created[CLOCK_TEXT_SIZE], renewed[CLOCK_TEXT_SIZE];
        clock_format(pg_get_int(result, row, 2), created);
        clock_format(pg_get_int(result, row, 3), renewed);
        printf("%s  %s  since %s, secret from %s\n", pg_get_text(result, row, 0), pg_get_text(result, row, 1),
               created, renewed);
    }
    return CTL_OK;
}

static int change(struct ctl *ctl, const char *action, const char *name)
{
    struct service_credentials credentials;
    bool removes = strcmp(action, "remove") == 0;
    enum err e = removes                      ? service_remove(ctl->pg, name)
                 : strcmp(action, "add") == 0 ? service_add(ctl->pg, name, &credentials)
                                              : service_renew(ctl->pg, name, &credentials);
    switch (e) {
    case ERR_OK:
        return removes ? CTL_OK : show(&credentials);
    case ERR_CONFLICT:
        fprintf(stderr, "tallygatectl: there is a service %s already\n", name);
        return CTL_FAILED;
    case ERR_NOT_FOUND:
        fprintf(stderr, "tallygatectl: there is no service %s\n", name);
        return CTL_NOT_FOUND;
    default:
        return ctl_database_failed("service");
    }
}

int ctl_service(struct ctl *ctl, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        return list(ctl);
    }
    bool known = argc == 3 && (strcmp(argv[1], "add") == 0 || strcmp(argv[1], "renew") == 0 ||
                               strcmp(argv[1], "remove") == 0);
    if (!known) {
        return ctl_usage(argv[0]);
    }
    if (!service_name_valid(argv[2])) {
        fprintf(stderr, "tallygatectl: a name has 1 to %d of a-z, 0-9, '-', '_' and '.'\n", SERVICE_NAME_MAX);
        return CTL_USAGE;
    }
    return change(ctl, argv[1], argv[2]);
}
