/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/past.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analytics/archive.h"
#include "base/clock.h"
#include "base/json.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/progress.h"

typedef bool past_worker(struct pg *pg, const char *partition, const char *directory,
                         const struct progress *progress, struct archive *ret_archive, char *ret_error);

/* With each partition that ends before `day`, the oldest first. */
static int each(struct ctl *ctl, const char *command, const char *day, past_worker *work,
                const char *directory, struct json_object *items)
{
    char error[ARCHIVE_ERROR_SIZE] = "", whole[PATH_MAX];
    PG_RESULT_AUTO rows = NULL;
    struct pg *owner = ctl_owner(ctl);
    if (!owner) {
        return CTL_FAILED;
    }
    /* What is noted of a file must name it from anywhere. */
    if (directory && !realpath(directory, whole)) {
        fprintf(stderr, "tallygatectl: %s: %s: %s\n", command, directory, strerror(errno));
        return CTL_FAILED;
    }
    directory = directory ? whole : NULL;
    if (archive_partitions(owner, &rows) != ERR_OK) {
        return ctl_database_failed(command);
    }
    for (int row = 0; row < PQntuples(rows); row++) {
        const char *name = pg_get_text(rows, row, ARCHIVE_NAME);
        struct archive archive;
        struct ctl_progress bar;
        if (strncmp(pg_get_text(rows, row, ARCHIVE_NEXT), day, strlen(day)) >
            0) { /* dates compare as texts */
            continue;
        }
        const struct progress progress = ctl_progress_begin(&bar, name, false);
        bool done = work(owner, name, directory, &progress, &archive, error);
        ctl_progress_end(&bar);
        if (!done) {
            return ctl_fail(command, error);
        }
        struct json_object *item = json_object_new_object();
        json_add_string(item, "partition", name);
        json_add_int(item, "events", archive.events);
        json_add_int(item, "bytes", archive.bytes);
        json_add_string(item, "file", *archive.file ? archive.file : NULL);
        json_object_array_add(items, item);
    }
    return CTL_OK;
}

int past_prune_before(struct ctl *ctl, const char *command, const char *day, const char *directory,
                      struct json_object *items)
{
    return each(ctl, command, day, archive_prune, directory, items);
}

/* Tell what would be done. */
static bool only_name(struct pg *pg, const char *partition, const char *directory,
                      const struct progress *progress, struct archive *ret_archive, char *ret_error)
{
    (void)pg;
    (void)directory;
    (void)progress;
    (void)ret_error;
    *ret_archive = (struct archive){0};
    snprintf(ret_archive->partition, sizeof(ret_archive->partition), "%s", partition);
    return true;
}

/* Whether all of it lies so far back that nothing of it is needed any more. */
static bool check_age(const char *day)
{
    int64_t us;
    if (!ctl_check_date("before", day)) {
        return false;
    }
    if (clock_parse_date(day, strlen(day), &us) &&
        us > clock_now_us() - ARCHIVE_KEEP_DAYS_MIN * USEC_PER_DAY) {
        fprintf(
            stderr,
            "tallygatectl: --before must lie at least %d days back: what is younger tells repeated events\n",
            ARCHIVE_KEEP_DAYS_MIN);
        return false;
    }
    return true;
}

/* What is not over would be an archive of a part. */
static bool check_past(const char *day)
{
    int64_t us;
    if (!ctl_check_date("before", day)) {
        return false;
    }
    if (clock_parse_date(day, strlen(day), &us) && us > clock_now_us()) {
        fputs("tallygatectl: --before must not lie ahead\n", stderr);
        return false;
    }
    return true;
}

static int run(struct ctl *ctl, int argc, char **argv, bool drop)
{
    enum { BEFORE, DIRECTORY, DRY_RUN, WITHOUT, COUNT };
    static const struct option OPTIONS[] = {{"before", required_argument, NULL, BEFORE},
                                            {"dir", required_argument, NULL, DIRECTORY},
                                            {"dry-run", no_argument, NULL, DRY_RUN},
                                            {"without-archive", no_argument, NULL, WITHOUT},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    json_add(all, "items", items);
    if (first != argc || !texts[BEFORE] || (texts[WITHOUT] && (!drop || texts[DIRECTORY]))) {
        return first < 0 ? CTL_USAGE : ctl_usage("events");
    }
    if (drop ? !check_age(texts[BEFORE]) : !check_past(texts[BEFORE])) {
        return CTL_USAGE;
    }
    const char *directory = texts[WITHOUT]     ? NULL
                            : texts[DIRECTORY] ? texts[DIRECTORY]
                                               : ctl->config->archive_dir;
    past_worker *work = texts[DRY_RUN] ? only_name : drop ? archive_prune : archive_write;
    int code = each(ctl, drop ? "events prune" : "events archive", texts[BEFORE], work, directory, items);
    if (!code || json_object_array_length(items)) {
        ctl_print(ctl, all, "no partition ends before that day");
    }
    return code;
}

int past_archive(struct ctl *ctl, int argc, char **argv)
{
    return run(ctl, argc, argv, false);
}

int past_prune(struct ctl *ctl, int argc, char **argv)
{
    return run(ctl, argc, argv, true);
}

int past_restore(struct ctl *ctl, const char *path)
{
    char error[ARCHIVE_ERROR_SIZE] = "";
    struct archive_restored restored;
    struct ctl_progress bar;
    struct pg *owner = ctl_owner(ctl);
    if (!owner) {
        return CTL_FAILED;
    }
    const struct progress progress = ctl_progress_begin(&bar, "restoring", true);
    bool done = archive_restore(owner, path, &progress, &restored, error);
    ctl_progress_end(&bar);
    if (!done) {
        return ctl_fail("events import", error);
    }
    JSON_AUTO told = json_object_new_object();
    json_add_int(told, "events", restored.events);
    json_add_int(told, "restored", restored.added);
    ctl_print(ctl, told, NULL);
    return CTL_OK;
}
