/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl config check | show */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "ctl/ctl.h"
#include "ctl/print.h"
#include "store/redis.h"

/* The settings themselves were read before any subcommand runs. */
static int check(struct ctl *ctl)
{
    char error[CONFIG_ERROR_SIZE];
    const char *reason;
    if (!config_load_secret(ctl->config, error)) {
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    if (*ctl->config->migration_url && !pg_url_valid(ctl->config->migration_url, &reason)) {
        fprintf(stderr, "tallygatectl: migration_url: %s\n", reason);
        return CTL_FAILED;
    }
    if (!redis_url_valid(ctl->config->redis_url, &reason)) {
        fprintf(stderr, "tallygatectl: redis_url: %s\n", reason);
        return CTL_FAILED;
    }
    puts(ctl->json ? "{}" : "the settings are fine");
    return CTL_OK;
}

static int show(const struct ctl *ctl)
{
    if (ctl->json) {
        JSON_AUTO settings = config_json(ctl->config);
        ctl_print(ctl, settings, NULL);
    } else {
        config_show(ctl->config, stdout);
    }
    return CTL_OK;
}

int ctl_config(struct ctl *ctl, int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "check") == 0) {
        return check(ctl);
    }
    return argc == 2 && strcmp(argv[1], "show") == 0 ? show(ctl) : ctl_usage(argv[0]);
}
