/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl events …: events in and out of the database, and what was counted of them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "analytics/archive.h"
#include "analytics/export.h"
#include "analytics/import.h"
#include "analytics/rebuild.h"
#include "base/json.h"
#include "base/mem.h"
#include "ctl/call.h"
#include "ctl/options.h"
#include "ctl/past.h"
#include "ctl/print.h"
#include "ctl/progress.h"

enum { COMPLAINTS_MAX = 20 };

/* ---- export ---- */

static int export_all(struct ctl *ctl, int argc, char **argv)
{
    enum { END, FORMAT, START, TYPE, USER, COUNT };
    static const struct option OPTIONS[] = {
        {"end", required_argument, NULL, END},     {"format", required_argument, NULL, FORMAT},
        {"start", required_argument, NULL, START}, {"type", required_argument, NULL, TYPE},
        {"user", required_argument, NULL, USER},   {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    struct buf query;
    JSON_AUTO answer = NULL;
    struct ctl_call call = {.handler = export_events, .stream = stdout};
    if (first < 0 || first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("events");
    }
    buf_init(&query, 8192);
    ctl_query_add(&query, "format", texts[FORMAT] ? texts[FORMAT] : "ndjson");
    ctl_query_add(&query, "start", texts[START]);
    ctl_query_add(&query, "end", texts[END]);
    ctl_query_add(&query, "type", texts[TYPE]);
    ctl_query_add(&query, "user_id", texts[USER]);
    call.query = buf_text(&query);
    int code = ctl_call_enter(ctl, &call, argv[first]);
    code = code ? code : ctl_call(ctl, &call, &answer);
    buf_free(&query);
    return code;
}

/* ---- import ---- */

struct complaining {
    struct ctl_progress *bar;
    int64_t told;
};

static void complain(void *argument, int64_t line, const char *field, const char *message)
{
    struct complaining *complaining = argument;
    if (complaining->told++ < COMPLAINTS_MAX) {
        ctl_progress_end(complaining->bar);
        fprintf(stderr, "tallygatectl: line %" PRId64 ": %s: %s\n", line, field, message);
    } else if (complaining->told == COMPLAINTS_MAX + 1) {
        fputs("tallygatectl: further lines that are not valid are only counted\n", stderr);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static int import(struct ctl *ctl, int argc, char **argv)
{
    enum { FORMAT, WORKSPACE, COUNT };
    static const struct option OPTIONS[] = {{"format", required_argument, NULL, FORMAT},
                                            {"workspace", required_argument, NULL, WORKSPACE},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    struct ctl_call place = {0};
    struct ctl_progress bar;
    struct complaining complaining = {.bar = &bar};
    struct import_counts counts = {0};
    char error[PACKED_ERROR_SIZE] = "";
    if (first < 0 || first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("events");
    }
    const char *path = argv[first];
    if (!texts[WORKSPACE] && strcmp(path, "-") == 0) {
        fputs(
            "tallygatectl: an archive is read twice, so it cannot be standard input; to record events, give --workspace\n",
            stderr);
        return CTL_USAGE;
    }
    if (!texts[WORKSPACE]) {
        return past_restore(ctl, path);
    }
    bool csv = texts[FORMAT] ? strcmp(texts[FORMAT], "csv") == 0
                             : ends_with(path, ".csv") || ends_with(path, ".csv.zst");
    if (texts[FORMAT] && !csv && strcmp(texts[FORMAT], "ndjson") != 0) {
        fputs("tallygatectl: --format must be csv or ndjson\n", stderr);
        return CTL_USAGE;
    }
    int code = ctl_call_enter(ctl, &place, texts[WORKSPACE]);
    if (code) {
        return code;
    }
    bool ours = false;
    if (strcmp(path, "-") != 0 && !archive_is_ours(ctl->pg, path, &ours, error)) {
        return ctl_fail("events import", error);
    }
    if (ours) {
        fprintf(
            stderr,
            "tallygatectl: events import: %s is an archive of this installation, whose events were counted; import it without --workspace\n",
            path);
        return CTL_FAILED;
    }
    const struct import job = {.config = ctl->config,
                               .workspace_id = place.workspace_id,
                               .format = csv ? IMPORT_CSV : IMPORT_NDJSON,
                               .progress = ctl_progress_begin(&bar, "importing", true),
                               .complain = complain,
                               .argument = &complaining};
    bool done = import_events(&job, path, &counts, error);
    ctl_progress_end(&bar);
    JSON_AUTO told = json_object_new_object();
    json_add_int(told, "recorded", counts.recorded);
    json_add_int(told, "duplicates", counts.duplicates);
    json_add_int(told, "rejected", counts.rejected);
    ctl_print(ctl, told, NULL);
    if (!done) {
        return ctl_fail("events import", error);
    }
    return counts.rejected ? CTL_FAILED : CTL_OK;
}

/* ---- rollups ---- */

static int rebuild(struct ctl *ctl, int argc, char **argv, bool mend)
{
    enum { FIRST, LAST, WORKSPACE, COUNT };
    static const struct option OPTIONS[] = {{"first", required_argument, NULL, FIRST},
                                            {"last", required_argument, NULL, LAST},
                                            {"workspace", required_argument, NULL, WORKSPACE},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    struct ctl_call place = {0};
    struct ctl_progress bar;
    struct rebuild_found found;
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("events");
    }
    if ((texts[FIRST] && !ctl_check_date("first", texts[FIRST])) ||
        (texts[LAST] && !ctl_check_date("last", texts[LAST]))) {
        return CTL_USAGE;
    }
    int code = texts[WORKSPACE] ? ctl_call_enter(ctl, &place, texts[WORKSPACE]) : CTL_OK;
    if (code) {
        return code;
    }
    const struct rebuild job = {
        .workspace_id = place.workspace_id, .first_day = texts[FIRST], .last_day = texts[LAST], .mend = mend};
    const struct progress progress = ctl_progress_begin(&bar, mend ? "rebuilding" : "comparing", false);
    enum err e = rebuild_run(ctl->pg, &job, &progress, &found);
    ctl_progress_end(&bar);
    if (e) {
        return ctl_database_failed(mend ? "events rebuild-rollups" : "events check");
    }
    JSON_AUTO told = json_object_new_object();
    json_add_int(told, "workspaces", found.workspaces);
    json_add_int(told, "days", found.days);
    json_add_int(told, mend ? "rows_mended" : "rows_wrong", found.wrong);
    ctl_print(ctl, told, NULL);
    return found.wrong && !mend ? CTL_FAILED : CTL_OK;
}

static int rebuild_rollups(struct ctl *ctl, int argc, char **argv)
{
    return rebuild(ctl, argc, argv, true);
}

static int check(struct ctl *ctl, int argc, char **argv)
{
    return rebuild(ctl, argc, argv, false);
}

int ctl_events(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"archive", past_archive}, {"check", check},
                                            {"export", export_all},    {"import", import},
                                            {"prune", past_prune},     {"rebuild-rollups", rebuild_rollups}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
