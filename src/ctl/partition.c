/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl partition keep | list */
#include <stdio.h>
#include <string.h>

#include "analytics/archive.h"
#include "analytics/upkeep.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "ctl/options.h"
#include "ctl/past.h"
#include "ctl/print.h"

static int list(struct ctl *ctl, int argc, char **argv)
{
    PG_RESULT_AUTO rows = NULL;
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    (void)argv;
    json_add(all, "items", items);
    if (argc != 1) {
        return ctl_usage("partition");
    }
    if (archive_partitions(ctl->pg, &rows) != ERR_OK) {
        return ctl_database_failed("partition list");
    }
    for (int row = 0; row < PQntuples(rows); row++) {
        struct json_object *item = json_object_new_object();
        json_add_string(item, "name", pg_get_text(rows, row, ARCHIVE_NAME));
        json_add_string(item, "first", pg_get_text(rows, row, ARCHIVE_FIRST));
        json_add_string(item, "next", pg_get_text(rows, row, ARCHIVE_NEXT));
        json_add(item, "attached", json_object_new_boolean(pg_get_bool(rows, row, ARCHIVE_ATTACHED)));
        json_add_int(item, "events_about", pg_get_int(rows, row, ARCHIVE_EVENTS));
        json_add_int(item, "bytes", pg_get_int(rows, row, ARCHIVE_BYTES));
        json_add_string(item, "archived_in", pg_get_text(rows, row, ARCHIVE_FILE));
        json_object_array_add(items, item);
    }
    ctl_print(ctl, all, "there are none: everything lies in the default partition");
    return CTL_OK;
}

/* What the timer runs once a day. */
static int keep(struct ctl *ctl, int argc, char **argv)
{
    JSON_AUTO told = json_object_new_object();
    struct json_object *items = json_object_new_array();
    int64_t keep_days = ctl->config->events_keep_days;
    int64_t made = 0;
    enum { STRAYS, COUNT };
    static const struct option OPTIONS[] = {{"strays", no_argument, NULL, STRAYS}, {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int code = CTL_OK;
    char error[160];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    json_add(told, "items", items);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("partition");
    }
    if (keep_days && keep_days < ARCHIVE_KEEP_DAYS_MIN) {
        snprintf(error, sizeof(error),
                 "events_keep_days must be 0 or at least %d: what is younger tells repeated events",
                 ARCHIVE_KEEP_DAYS_MIN);
        return ctl_fail("partition keep", error);
    }
    struct pg *owner = ctl_owner(ctl);
    if (!owner) {
        return CTL_FAILED;
    }
    if ((texts[STRAYS] && pg_script(owner, "SET tallygate.strays_max = '1000000000000'") != ERR_OK) ||
        upkeep_make(ctl->config, owner, &made) != ERR_OK) {
        return ctl_database_failed("partition keep");
    }
    if (keep_days) {
        char day[CLOCK_TEXT_SIZE];
        clock_format_date(clock_now_us() - keep_days * USEC_PER_DAY, day);
        code = past_prune_before(ctl, "partition keep", day,
                                 *ctl->config->archive_dir ? ctl->config->archive_dir : NULL, items);
    }
    json_add_int(told, "made_or_dropped", made);
    if (ctl->json || json_object_array_length(items)) {
        ctl_print(ctl, told, NULL);
    } else if (!code) {
        printf("%lld partitions were made or dropped, and no events are past\n", (long long)made);
    }
    return code;
}

int ctl_partition(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"keep", keep}, {"list", list}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
