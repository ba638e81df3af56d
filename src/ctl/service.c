/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl service add NAME | renew NAME | remove NAME | list */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "identity/service.h"

/* The secret goes to standard output, and nowhere else. */
static int show(const struct ctl *ctl, struct service_credentials *credentials)
{
    JSON_AUTO told = json_object_new_object();
    json_add_string(told, "client_id", credentials->client_id);
    json_add_string(told, "client_secret", credentials->secret);
    ctl_print(ctl, told, NULL);
    crypto_wipe(credentials, sizeof(*credentials));
    return CTL_OK;
}

static int list(struct ctl *ctl)
{
    PG_RESULT_AUTO result = NULL;
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    json_add(all, "items", items);
    if (service_list(ctl->pg, &result) != ERR_OK) {
        return ctl_database_failed("service list");
    }
    for (int row = 0; row < PQntuples(result); row++) {
        struct json_object *item = json_object_new_object();
        json_add_string(item, "client_id", pg_get_text(result, row, 0));
        json_add_string(item, "name", pg_get_text(result, row, 1));
        json_add_time(item, "created_at", pg_get_int(result, row, 2));
        json_add_time(item, "renewed_at", pg_get_int(result, row, 3));
        json_object_array_add(items, item);
    }
    ctl_print(ctl, all, "there are none");
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
        if (removes) {
            puts(ctl->json ? "{}" : "it is removed");
            return CTL_OK;
        }
        return show(ctl, &credentials);
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
