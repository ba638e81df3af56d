/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl webhook …: what the API's /webhooks do, in the workspace that is named. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "identity/webhook.h"
#include "identity/webhook_delivery.h"

enum { URL_SIZE = 2048 };

/* Secrets are sealed with the master secret. */
static int load_secret(struct ctl *ctl)
{
    char error[CONFIG_ERROR_SIZE];
    if (!config_load_secret(ctl->config, error)) {
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    return CTL_OK;
}

static int add(struct ctl *ctl, int argc, char **argv)
{
    enum { DESCRIPTION, FORMAT, TYPES, COUNT };
    static const struct option OPTIONS[] = {{"description", required_argument, NULL, DESCRIPTION},
                                            {"format", required_argument, NULL, FORMAT},
                                            {"types", required_argument, NULL, TYPES},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    char line[URL_SIZE];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO body = json_object_new_object();
    struct ctl_call call = {.handler = webhook_create, .body = body};
    if (first < 0 || first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("webhook");
    }
    const char *url = argv[first + 1];
    if (strcmp(url, "-") == 0) { /* it may hold a secret, which others see in a list of processes */
        if (!fgets(line, sizeof(line), stdin)) {
            return ctl_fail("webhook", "no URL on standard input");
        }
        line[strcspn(line, "\r\n")] = '\0';
        url = line;
    }
    json_add_string(body, "url", url);
    json_add(body, "event_types", ctl_read_list(texts[TYPES] ? texts[TYPES] : "*"));
    if (texts[DESCRIPTION]) {
        json_add_string(body, "description", texts[DESCRIPTION]);
    }
    if (texts[FORMAT]) {
        json_add_string(body, "format", texts[FORMAT]);
    }
    int code = load_secret(ctl);
    return code
               ? code
               : ctl_call_print(ctl, &call, argv[first], NULL); /* the secret goes to standard output alone */
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = webhook_list};
    return argc == 2 ? ctl_call_print(ctl, &call, argv[1], NULL) : ctl_usage("webhook");
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = webhook_show};
    return ctl_call_about(ctl, argc, argv, &call, "webhook", NULL);
}

static int delete (struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = webhook_delete};
    return ctl_call_about(ctl, argc, argv, &call, "webhook", "it is gone");
}

static int rotate(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = webhook_rotate};
    int code = load_secret(ctl);
    return code ? code : ctl_call_about(ctl, argc, argv, &call, "webhook", NULL);
}

static int test(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = webhook_test};
    return ctl_call_about(ctl, argc, argv, &call, "webhook", NULL);
}

static int change_state(struct ctl *ctl, int argc, char **argv, const char *state)
{
    JSON_AUTO body = json_object_new_object();
    struct ctl_call call = {.handler = webhook_change, .body = body};
    json_add_string(body, "state", state);
    return ctl_call_about(ctl, argc, argv, &call, "webhook", NULL);
}

static int pause_(struct ctl *ctl, int argc, char **argv)
{
    return change_state(ctl, argc, argv, "paused");
}

static int enable(struct ctl *ctl, int argc, char **argv)
{
    return change_state(ctl, argc, argv, "enabled");
}

static int deliveries(struct ctl *ctl, int argc, char **argv)
{
    enum { LIMIT, STATE, COUNT };
    static const struct option OPTIONS[] = {{"limit", required_argument, NULL, LIMIT},
                                            {"state", required_argument, NULL, STATE},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    struct buf query;
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first < 0 || first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("webhook");
    }
    buf_init(&query, 4096);
    ctl_query_add(&query, "limit", texts[LIMIT]);
    ctl_query_add(&query, "state", texts[STATE]);
    struct ctl_call call = {
        .handler = webhook_delivery_list, .id = argv[first + 1], .query = buf_text(&query)};
    int code = ctl_call_print(ctl, &call, argv[first], NULL);
    buf_free(&query);
    return code;
}

static int redeliver(struct ctl *ctl, int argc, char **argv)
{
    bool fine =
        argc == 4 && *argv[3] && strspn(argv[3], "0123456789") == strlen(argv[3]) && strlen(argv[3]) <= 18;
    struct ctl_call call = {.handler = webhook_delivery_again};
    if (!fine) {
        return ctl_usage("webhook");
    }
    call.id = argv[2];
    call.delivery_id = argv[3];
    return ctl_call_print(ctl, &call, argv[1], NULL);
}

int ctl_webhook(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {
        {"add", add},   {"delete", delete}, {"deliveries", deliveries}, {"enable", enable},
        {"list", list}, {"pause", pause_},  {"redeliver", redeliver},   {"rotate", rotate},
        {"show", show}, {"test", test}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
