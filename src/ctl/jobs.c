/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl jobs …: what the API's /admin/jobs and /admin/schedules do. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "identity/background.h"

static int list(struct ctl *ctl, int argc, char **argv)
{
    enum { LIMIT, STATE, TYPE, COUNT };
    static const struct option OPTIONS[] = {{"limit", required_argument, NULL, LIMIT},
                                            {"state", required_argument, NULL, STATE},
                                            {"type", required_argument, NULL, TYPE},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    struct buf query;
    JSON_AUTO page = NULL;
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("jobs");
    }
    buf_init(&query, 4096);
    ctl_query_add(&query, "limit", texts[LIMIT]);
    ctl_query_add(&query, "state", texts[STATE]);
    ctl_query_add(&query, "type", texts[TYPE]);
    const struct ctl_call call = {.handler = background_list, .query = buf_text(&query)};
    int code = ctl_call(ctl, &call, &page);
    buf_free(&query);
    if (!code) {
        ctl_print(ctl, page, "there are none");
    }
    return code;
}

/* A call about the job that the argument names. */
static int about(struct ctl *ctl, int argc, char **argv, route_handler *handler, const char *done)
{
    JSON_AUTO answer = NULL;
    if (argc != 2 || !*argv[1] || strspn(argv[1], "0123456789") != strlen(argv[1]) || strlen(argv[1]) > 18) {
        return ctl_usage("jobs");
    }
    const struct ctl_call call = {.handler = handler, .id = argv[1]};
    int code = ctl_call(ctl, &call, &answer);
    if (!code && answer) {
        ctl_print(ctl, answer, NULL);
    } else if (!code) {
        puts(ctl->json ? "{}" : done);
    }
    return code;
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    return about(ctl, argc, argv, background_show, NULL);
}

static int retry(struct ctl *ctl, int argc, char **argv)
{
    return about(ctl, argc, argv, background_retry, NULL);
}

static int discard(struct ctl *ctl, int argc, char **argv)
{
    return about(ctl, argc, argv, background_discard, "it is gone");
}

static int put(struct ctl *ctl, int argc, char **argv)
{
    enum { AT, PAYLOAD, PRIORITY, COUNT };
    static const struct option OPTIONS[] = {{"at", required_argument, NULL, AT},
                                            {"payload", required_argument, NULL, PAYLOAD},
                                            {"priority", required_argument, NULL, PRIORITY},
                                            {NULL, 0, NULL, 0}};
    static const struct {
        int option;
        const char *member;
    } AS_JSON[] = {{PAYLOAD, "payload"}, {PRIORITY, "priority"}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO body = json_object_new_object();
    JSON_AUTO answer = NULL;
    struct json_fault fault;
    if (first < 0 || first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("jobs");
    }
    json_add_string(body, "type", argv[first]);
    if (texts[AT]) {
        json_add_string(body, "run_at", texts[AT]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(AS_JSON); i++) {
        const char *text = texts[AS_JSON[i].option];
        struct json_object *value = NULL;
        if (text && !json_parse(text, strlen(text), &value, &fault)) {
            fprintf(stderr, "tallygatectl: --%s must be JSON\n", AS_JSON[i].member);
            return CTL_USAGE;
        }
        if (text) {
            json_object_object_add(body, AS_JSON[i].member, value);
        }
    }
    const struct ctl_call call = {.handler = background_put, .body = body};
    int code = ctl_call(ctl, &call, &answer);
    if (!code) {
        ctl_print(ctl, answer, NULL);
    }
    return code;
}

static int schedules(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO all = NULL;
    const struct ctl_call call = {.handler = background_schedules};
    (void)argv;
    int code = argc == 1 ? ctl_call(ctl, &call, &all) : ctl_usage("jobs");
    if (!code) {
        ctl_print(ctl, all, "there are none; tallygate-jobd makes them");
    }
    return code;
}

int ctl_jobs(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"discard", discard}, {"list", list},           {"put", put},
                                            {"retry", retry},     {"schedules", schedules}, {"show", show}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
