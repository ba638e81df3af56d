/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl jobs …: what waits, runs and failed, and when what is due. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "work/jobs.h"

static int print(struct ctl *ctl, enum err e, struct json_object *found, const char *none)
{
    if (e == ERR_NOT_FOUND) {
        fputs("tallygatectl: there is no such job, or it is not in that state\n", stderr);
        return CTL_NOT_FOUND;
    }
    if (e) {
        return ctl_database_failed("jobs");
    }
    ctl_print(ctl, found, none);
    json_object_put(found);
    return CTL_OK;
}

static bool read_id(const char *text, int64_t *ret_id)
{
    char *end;
    *ret_id = strtoll(text, &end, 10);
    return *text && !*end && *ret_id > 0;
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    enum { LIMIT, STATE, TYPE, COUNT };
    static const struct option OPTIONS[] = {{"limit", required_argument, NULL, LIMIT},
                                            {"state", required_argument, NULL, STATE},
                                            {"type", required_argument, NULL, TYPE},
                                            {NULL, 0, NULL, 0}};
    static const char *const STATES[] = {"waiting", "running", "dead", "done"};
    const char *texts[COUNT];
    struct json_object *found = NULL;
    int64_t limit = 100;
    bool known = false;
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc || (texts[LIMIT] && (!read_id(texts[LIMIT], &limit) || limit > 100000))) {
        return first < 0 ? CTL_USAGE : ctl_usage("jobs");
    }
    for (size_t i = 0; i < ARRAY_SIZE(STATES); i++) {
        known = known || !texts[STATE] || strcmp(texts[STATE], STATES[i]) == 0;
    }
    if (!known) {
        fputs("tallygatectl: --state must be waiting, running, dead or done\n", stderr);
        return CTL_USAGE;
    }
    enum err e = jobs_list(ctl->pg, texts[STATE], texts[TYPE], limit, &found);
    return print(ctl, e, found, "there are none");
}

static int with_id(struct ctl *ctl, int argc, char **argv,
                   enum err (*act)(struct pg *pg, int64_t id, struct json_object **ret_job))
{
    struct json_object *found = NULL;
    int64_t id;
    if (argc != 2 || !read_id(argv[1], &id)) {
        return ctl_usage("jobs");
    }
    enum err e = act(ctl->pg, id, &found);
    return print(ctl, e, found, NULL);
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    return with_id(ctl, argc, argv, jobs_show);
}

static int retry(struct ctl *ctl, int argc, char **argv)
{
    return with_id(ctl, argc, argv, jobs_retry);
}

static int discard(struct ctl *ctl, int argc, char **argv)
{
    return with_id(ctl, argc, argv, jobs_discard);
}

static int put(struct ctl *ctl, int argc, char **argv)
{
    enum { COUNT_OF, PAYLOAD, PRIORITY, COUNT };
    static const struct option OPTIONS[] = {{"count", required_argument, NULL, COUNT_OF},
                                            {"payload", required_argument, NULL, PAYLOAD},
                                            {"priority", required_argument, NULL, PRIORITY},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    int64_t count = 1;
    struct json_object *payload = NULL;
    struct json_fault fault;
    if (first < 0 || first + 1 != argc ||
        (texts[COUNT_OF] && (!read_id(texts[COUNT_OF], &count) || count > 1000000)) ||
        (texts[PRIORITY] && (strlen(texts[PRIORITY]) != 1 || !strchr("012", *texts[PRIORITY])))) {
        return first < 0 ? CTL_USAGE : ctl_usage("jobs");
    }
    if (texts[PAYLOAD] && (!json_parse(texts[PAYLOAD], strlen(texts[PAYLOAD]), &payload, &fault) ||
                           !json_object_is_type(payload, json_type_object) || json_unstorable(payload))) {
        json_object_put(payload);
        fputs("tallygatectl: --payload must be a JSON object\n", stderr);
        return CTL_USAGE;
    }
    json_object_put(payload);
    const struct queue_order order = {.type = argv[first],
                                      .payload = texts[PAYLOAD],
                                      .priority = texts[PRIORITY] ? *texts[PRIORITY] - '0' : 1};
    if (jobs_put(ctl->pg, &order, count) != ERR_OK) {
        return ctl_database_failed("jobs put");
    }
    if (ctl->json) {
        printf("{\"put\":%" PRId64 "}\n", count);
    } else {
        printf("put %" PRId64 " in\n", count);
    }
    return CTL_OK;
}

static int schedules(struct ctl *ctl, int argc, char **argv)
{
    struct json_object *found = NULL;
    (void)argv;
    if (argc != 1) {
        return ctl_usage("jobs");
    }
    enum err e = jobs_schedules(ctl->pg, &found);
    return print(ctl, e, found, "there are none; tallygate-jobd makes them");
}

int ctl_jobs(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"discard", discard}, {"list", list},           {"put", put},
                                            {"retry", retry},     {"schedules", schedules}, {"show", show}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
