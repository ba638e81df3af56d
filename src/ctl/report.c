/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl report …: what the API's /reports do, in the workspace that is named. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "report/report.h"
#include "report/report_run.h"

static int add(struct ctl *ctl, int argc, char **argv)
{
    enum { FORMAT, RANGE, SECTIONS, COUNT };
    static const struct option OPTIONS[] = {{"format", required_argument, NULL, FORMAT},
                                            {"range", required_argument, NULL, RANGE},
                                            {"sections", required_argument, NULL, SECTIONS},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO body = json_object_new_object();
    struct ctl_call call = {.handler = report_create, .body = body};
    if (first < 0 || first + 2 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("report");
    }
    json_add_string(body, "name", argv[first + 1]);
    json_add_string(body, "format", texts[FORMAT] ? texts[FORMAT] : "pdf");
    json_add_string(body, "range", texts[RANGE] ? texts[RANGE] : "30d");
    json_add(body, "sections",
             ctl_read_list(texts[SECTIONS] ? texts[SECTIONS] : "summary,by_type,costs,top_users,daily"));
    return ctl_call_print(ctl, &call, argv[first], NULL);
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_list};
    return argc == 2 ? ctl_call_print(ctl, &call, argv[1], NULL) : ctl_usage("report");
}

static int show(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_show};
    return ctl_call_about(ctl, argc, argv, &call, "report", NULL);
}

static int delete (struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_delete};
    return ctl_call_about(ctl, argc, argv, &call, "report", "it is gone");
}

static int run(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_run_start};
    return ctl_call_about(ctl, argc, argv, &call, "report", NULL);
}

static int runs(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_run_list};
    return ctl_call_about(ctl, argc, argv, &call, "report", NULL);
}

static int status(struct ctl *ctl, int argc, char **argv)
{
    struct ctl_call call = {.handler = report_run_show};
    if (argc != 4) {
        return ctl_usage("report");
    }
    call.id = argv[2];
    call.run_id = argv[3];
    return ctl_call_print(ctl, &call, argv[1], NULL);
}

/* Its file, to standard output or into one that is not there yet. */
static int download(struct ctl *ctl, int argc, char **argv)
{
    enum { OUTPUT, COUNT };
    static const struct option OPTIONS[] = {{"output", required_argument, NULL, OUTPUT}, {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO answer = NULL;
    struct ctl_call call = {.handler = report_run_download, .stream = stdout};
    if (first < 0 || first + 3 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("report");
    }
    call.id = argv[first + 1];
    call.run_id = argv[first + 2];
    int code = ctl_call_enter(ctl, &call, argv[first]);
    if (code) {
        return code;
    }
    call.stream = texts[OUTPUT] ? fopen(texts[OUTPUT], "wx") : stdout;
    if (!call.stream) {
        fprintf(stderr, "tallygatectl: %s: %s\n", texts[OUTPUT], strerror(errno));
        return CTL_FAILED;
    }
    code = ctl_call(ctl, &call, &answer);
    if (texts[OUTPUT] && fclose(call.stream) != 0 && !code) {
        code = ctl_fail("report", "not all could be written");
    }
    if (texts[OUTPUT] && code) {
        remove(texts[OUTPUT]); /* nothing, or half of it */
    }
    return code;
}

int ctl_report(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"add", add},   {"delete", delete}, {"download", download},
                                            {"list", list}, {"run", run},       {"runs", runs},
                                            {"show", show}, {"status", status}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
