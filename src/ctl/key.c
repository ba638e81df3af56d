/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl key add WORKSPACE NAME | list WORKSPACE | revoke WORKSPACE ID: API keys, made in the name of
 * the owner. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "identity/apikey.h"

static int add(struct ctl *ctl, int argc, char **argv)
{
    enum { EXPIRES, PER_SECOND, SCOPES, COUNT };
    static const struct option OPTIONS[] = {{"expires", required_argument, NULL, EXPIRES},
                                            {"per-second", required_argument, NULL, PER_SECOND},
                                            {"scopes", required_argument, NULL, SCOPES},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    char error[CONFIG_ERROR_SIZE];
    JSON_AUTO body = json_object_new_object();
    JSON_AUTO answer = NULL;
    struct json_object *number = NULL;
    struct json_fault fault;
    struct ctl_call call = {.handler = apikey_create, .body = body};
    if (first < 0 || first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("key");
    }
    if (!config_load_secret(ctl->config, error)) { /* a key carries a tag that is made with it */
        fprintf(stderr, "tallygatectl: %s\n", error);
        return CTL_FAILED;
    }
    json_add_string(body, "name", argv[first + 1]);
    json_add(body, "scopes", ctl_read_list(texts[SCOPES] ? texts[SCOPES] : "events:write"));
    if (texts[EXPIRES]) {
        json_add_string(body, "expires_at", texts[EXPIRES]);
    }
    if (texts[PER_SECOND]) {
        (void)json_parse(texts[PER_SECOND], strlen(texts[PER_SECOND]), &number, &fault);
        json_add(body, "per_second", number ? number : json_object_new_string(texts[PER_SECOND]));
    }
    int code = ctl_call_enter(ctl, &call, argv[first]);
    code = code ? code : ctl_call(ctl, &call, &answer);
    if (!code) {
        ctl_print(ctl, answer, NULL); /* the key goes to standard output, and nowhere else */
    }
    return code;
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO all = NULL;
    struct ctl_call call = {.handler = apikey_list};
    int code = argc == 2 ? ctl_call_enter(ctl, &call, argv[1]) : ctl_usage("key");
    code = code ? code : ctl_call(ctl, &call, &all);
    if (!code) {
        ctl_print(ctl, all, "there are none");
    }
    return code;
}

static int revoke(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO answer = NULL;
    struct ctl_call call = {.handler = apikey_delete, .id = argc == 3 ? argv[2] : NULL};
    int code = argc == 3 ? ctl_call_enter(ctl, &call, argv[1]) : ctl_usage("key");
    code = code ? code : ctl_call(ctl, &call, &answer);
    if (!code) {
        puts(ctl->json ? "{}" : "it is revoked");
    }
    return code;
}

int ctl_key(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"add", add}, {"list", list}, {"revoke", revoke}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
