/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl backup make | list | verify BACKUP; see safe.h for what a backup is. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/packed.h"
#include "ctl/child.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "ctl/safe.h"
#include "store/migrate.h"

enum { CHUNK_BYTES = 256 * 1024 };

static const struct pg_statement SNAPSHOT = {
    "backup_snapshot",
    "SELECT pg_export_snapshot(), (SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)::bigint, "
    "set_config('idle_in_transaction_session_timeout', '0', true)"};
/* While this is held no partition is taken out, and counting holds the others: what was counted is what is
 * dumped. */
static const char HOLD[] = "LOCK TABLE events IN ACCESS SHARE MODE";
static const struct pg_statement ROWS = {"backup_rows",
                                         "SELECT count_rows(), current_setting('server_version')"};

struct making {
    struct ctl *ctl;
    const char *backup; /* the directory, with its name for the while */
    struct json_object *manifest;
    struct packed_sum sum;
    char error[SAFE_ERROR_SIZE];
};

/* ---- make ---- */

static bool copy(struct making *making, struct child *child, struct packed_writer *writer, int64_t about)
{
    struct ctl_progress bar;
    const struct progress progress = ctl_progress_begin(&bar, "dumping", true);
    char *chunk = mem_alloc(CHUNK_BYTES);
    int64_t done = 0;
    bool fine = true;
    while (fine) {
        ssize_t n = read(child->out, chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            fine = n == 0;
            break;
        }
        fine = packed_write(writer, chunk, (size_t)n, making->error);
        done += n;
        progress_tell(&progress, done, about > done ? about : done);
    }
    ctl_progress_end(&bar);
    free(chunk);
    return fine;
}

static bool dump(struct making *making, const char *snapshot, int64_t about)
{
    char path[SAFE_PATH_SIZE], option[120];
    const char *const argv[] = {"pg_dump", "--format=custom", "--compress=0", "--no-password", option, NULL};
    struct child child;
    snprintf(option, sizeof(option), "--snapshot=%s", snapshot);
    struct packed_writer *writer =
        safe_path(path, making->backup, SAFE_DUMP) ? packed_create(path, making->error) : NULL;
    if (!writer) {
        return false;
    }
    if (!child_start(&child, argv, ctl_owner_url(making->ctl), false, true)) {
        packed_discard(writer);
        return false;
    }
    if (!copy(making, &child, writer, about)) {
        child_stop(&child);
        packed_discard(writer);
        return false;
    }
    if (!child_finish(&child)) {
        packed_discard(writer);
        return false;
    }
    return packed_finish(writer, &making->sum, making->error);
}

/* In one snapshot: what is dumped, and what is counted of it. */
static enum err take(struct pg *pg, void *argument)
{
    struct making *making = argument;
    PG_RESULT_AUTO snapshot = NULL;
    PG_RESULT_AUTO rows = NULL;
    struct json_object *counts = NULL;
    struct json_fault fault;
    enum err e = pg_script(pg, HOLD);
    e = e ? e : pg_query(pg, &SNAPSHOT, NULL, &snapshot);
    e = e ? e : pg_query(pg, &ROWS, NULL, &rows);
    if (e) {
        return e;
    }
    const char *text = pg_get_text(rows, 0, 0);
    (void)json_parse(text, strlen(text), &counts, &fault);
    json_add_string(making->manifest, "postgresql", pg_get_text(rows, 0, 1));
    json_add(making->manifest, "rows", counts);
    return dump(making, pg_get_text(snapshot, 0, 0), pg_get_int(snapshot, 0, 1)) ? ERR_OK : ERR_INTERNAL;
}

static bool put_manifest(struct making *making)
{
    char path[SAFE_PATH_SIZE];
    const char *text =
        json_object_to_json_string_ext(making->manifest, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED);
    return safe_path(path, making->backup, SAFE_MANIFEST) &&
           packed_put(path, text, strlen(text), making->error);
}

static bool fill(struct making *making, const struct safe_passphrase *passphrase)
{
    struct pg *owner = ctl_owner(making->ctl);
    int schema = 0;
    struct ctl_progress bar;
    if (passphrase && !safe_put_settings(making->backup, making->ctl->config_path, making->ctl->config,
                                         passphrase, making->error)) {
        return false;
    }
    if (!owner || migrate_current(owner, &schema) != ERR_OK || schema == 0) {
        snprintf(making->error, sizeof(making->error),
                 "the database has no schema of Tallygate's, or is away");
        return false;
    }
    json_add_int(making->manifest, "format", 1);
    json_add_string(making->manifest, "version", PACKAGE_VERSION);
    json_add_time(making->manifest, "created_at", clock_now_us());
    json_add_int(making->manifest, "schema", schema);
    if (pg_snapshot(owner, take, making) != ERR_OK) {
        if (!*making->error) {
            snprintf(making->error, sizeof(making->error),
                     "the database was not dumped; see the lines above");
        }
        return false;
    }
    json_add_int(making->manifest, "dump_bytes", making->sum.plain_bytes);
    if (!put_manifest(making) || !safe_put_sums(making->backup, making->error)) {
        return false;
    }
    const struct progress progress = ctl_progress_begin(&bar, "verifying", true);
    bool whole = safe_check_dump(making->backup, &progress, making->error) &&
                 safe_check_sums(making->backup, making->error);
    ctl_progress_end(&bar);
    return whole;
}

static const char *const NAMES[] = {SAFE_DUMP, SAFE_DUMP ".partial", SAFE_SETTINGS, SAFE_MANIFEST, SAFE_SUMS};

/* What root makes by hand in a directory of the timer's user is that user's, who is to remove it some day. */
static void hand_over(const char *backup, const char *directory)
{
    char path[SAFE_PATH_SIZE];
    struct stat st;
    if (geteuid() != 0 || stat(directory, &st) != 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        if (safe_path(path, backup, NAMES[i]) && lchown(path, st.st_uid, st.st_gid) != 0 && errno != ENOENT) {
            return; /* they stay root's: no harm */
        }
    }
    (void)!lchown(backup, st.st_uid, st.st_gid);
}

static bool remove_backup(const char *backup)
{
    char path[SAFE_PATH_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(NAMES); i++) {
        if (safe_path(path, backup, NAMES[i])) {
            unlink(path);
        }
    }
    return rmdir(backup) == 0;
}

/* The oldest go until there are `keep`, whatever their clock said of the one that was just made. What is no
 * whole backup does not count. */
static int64_t remove_old(const char *directory, const char *made, int64_t keep)
{
    char path[SAFE_PATH_SIZE], error[SAFE_ERROR_SIZE];
    JSON_AUTO names = NULL;
    int64_t removed = 0, count = 1;
    if (keep == 0 || !safe_list(directory, &names, error)) {
        return 0;
    }
    for (size_t i = json_object_array_length(names); i-- > 0;) { /* the newest first */
        const char *name = json_object_get_string(json_object_array_get_idx(names, i));
        JSON_AUTO manifest = NULL;
        if (strcmp(name, made) == 0 || !safe_path(path, directory, name) ||
            !safe_get_manifest(path, &manifest, error) || ++count <= keep) {
            continue;
        }
        if (remove_backup(path)) {
            removed++;
        } else {
            fprintf(stderr, "tallygatectl: backup: %s: cannot be removed\n", name);
        }
    }
    return removed;
}

/* What was begun days ago and never ended. */
static void remove_leftovers(const char *directory)
{
    enum { OLD_S = 2 * 86400 };
    char path[SAFE_PATH_SIZE], error[SAFE_ERROR_SIZE];
    struct stat st;
    JSON_AUTO names = NULL;
    if (!safe_list_partial(directory, &names, error)) {
        return;
    }
    for (size_t i = 0; i < json_object_array_length(names); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(names, i));
        if (safe_path(path, directory, name) && stat(path, &st) == 0 && st.st_mtime < time(NULL) - OLD_S) {
            (void)remove_backup(path);
        }
    }
}

static int make_in(struct ctl *ctl, const char *directory, const struct safe_passphrase *passphrase)
{
    char stamp[24], partial[SAFE_PATH_SIZE], final[SAFE_PATH_SIZE];
    time_t now = time(NULL);
    struct tm utc;
    JSON_AUTO manifest = json_object_new_object();
    struct making making = {.ctl = ctl, .backup = partial, .manifest = manifest};
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
    if (!safe_path(final, directory, stamp) ||
        (size_t)snprintf(partial, sizeof(partial), "%s.partial", final) >= sizeof(partial)) {
        return ctl_fail("backup", "the directory's name is too long");
    }
    bool taken = access(final, F_OK) == 0;
    if (taken || mkdir(partial, 0700) != 0) {
        fprintf(stderr, "tallygatectl: backup: %s: %s\n", directory,
                taken || errno == EEXIST ? "another one was begun in this second" : strerror(errno));
        return CTL_FAILED;
    }
    remove_leftovers(directory);
    bool made = fill(&making, passphrase);
    hand_over(partial, directory);
    if (made && rename(partial, final) != 0) {
        snprintf(making.error, sizeof(making.error), "it cannot get its name: %s", strerror(errno));
        made = false;
    }
    made = made && packed_sync_directory(directory, making.error);
    if (!made) {
        remove_backup(partial);
        return ctl_fail("backup", *making.error ? making.error : "see the lines above");
    }
    JSON_AUTO told = json_object_new_object();
    json_add_string(told, "backup", final);
    json_add_int(told, "bytes", making.sum.bytes);
    json_add_int(told, "dump_bytes", making.sum.plain_bytes);
    json_add(told, "settings", json_object_new_boolean(passphrase != NULL));
    json_add_int(told, "removed", remove_old(directory, stamp, ctl->config->backup_keep));
    ctl_print(ctl, told, NULL);
    return CTL_OK;
}

static int make(struct ctl *ctl, int argc, char **argv)
{
    enum { DIRECTORY, PASSPHRASE, WITHOUT, COUNT };
    static const struct option OPTIONS[] = {{"dir", required_argument, NULL, DIRECTORY},
                                            {"passphrase-file", required_argument, NULL, PASSPHRASE},
                                            {"without-settings", no_argument, NULL, WITHOUT},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    struct safe_passphrase passphrase;
    char error[SAFE_ERROR_SIZE];
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("backup");
    }
    if (!texts[WITHOUT] &&
        (!config_load_secret(ctl->config, error) ||
         !safe_read_passphrase(texts[PASSPHRASE] ? texts[PASSPHRASE] : ctl->config->backup_passphrase_file,
                               &passphrase, error))) {
        fprintf(stderr, "tallygatectl: backup: %s\n", error);
        fputs(
            "tallygatectl: settings and master secret are sealed with a passphrase; --without-settings leaves them out\n",
            stderr);
        return CTL_FAILED;
    }
    int code = make_in(ctl, texts[DIRECTORY] ? texts[DIRECTORY] : ctl->config->backup_dir,
                       texts[WITHOUT] ? NULL : &passphrase);
    crypto_wipe(&passphrase, sizeof(passphrase));
    return code;
}

/* ---- list and verify ---- */

static struct json_object *describe(const char *backup, const char *name)
{
    char path[SAFE_PATH_SIZE], error[SAFE_ERROR_SIZE];
    struct stat st;
    JSON_AUTO manifest = NULL;
    struct json_object *item = json_object_new_object();
    bool readable = safe_get_manifest(backup, &manifest, error);
    json_add_string(item, "backup", name);
    json_add(item, "created_at",
             readable ? json_object_get(json_object_object_get(manifest, "created_at")) : NULL);
    json_add(item, "whole", json_object_new_boolean(readable));
    json_add(item, "version", readable ? json_object_get(json_object_object_get(manifest, "version")) : NULL);
    json_add(item, "schema", readable ? json_object_get(json_object_object_get(manifest, "schema")) : NULL);
    json_add(item, "bytes",
             safe_path(path, backup, SAFE_DUMP) && stat(path, &st) == 0 ? json_object_new_int64(st.st_size)
                                                                        : NULL);
    json_add(item, "settings",
             json_object_new_boolean(safe_path(path, backup, SAFE_SETTINGS) && access(path, F_OK) == 0));
    return item;
}

static int list(struct ctl *ctl, int argc, char **argv)
{
    enum { DIRECTORY, COUNT };
    static const struct option OPTIONS[] = {{"dir", required_argument, NULL, DIRECTORY}, {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    char path[SAFE_PATH_SIZE], error[SAFE_ERROR_SIZE];
    JSON_AUTO names = NULL;
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    json_add(all, "items", items);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("backup");
    }
    const char *directory = texts[DIRECTORY] ? texts[DIRECTORY] : ctl->config->backup_dir;
    if (!safe_list(directory, &names, error)) {
        return ctl_fail("backup list", error);
    }
    for (size_t i = 0; i < json_object_array_length(names); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(names, i));
        if (safe_path(path, directory, name)) {
            json_object_array_add(items, describe(path, name));
        }
    }
    ctl_print(ctl, all, "there are none");
    return CTL_OK;
}

static int verify(struct ctl *ctl, int argc, char **argv)
{
    enum { PASSPHRASE, COUNT };
    static const struct option OPTIONS[] = {{"passphrase-file", required_argument, NULL, PASSPHRASE},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    char error[SAFE_ERROR_SIZE] = "";
    struct ctl_progress bar;
    struct safe_passphrase passphrase;
    JSON_AUTO settings = NULL;
    JSON_AUTO manifest = NULL;
    if (first < 0 || first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage("backup");
    }
    const char *backup = argv[first];
    const struct progress progress = ctl_progress_begin(&bar, "verifying", true);
    bool whole = safe_check_sums(backup, error) && safe_get_manifest(backup, &manifest, error) &&
                 safe_check_dump(backup, &progress, error);
    ctl_progress_end(&bar);
    if (whole && texts[PASSPHRASE]) {
        whole = safe_read_passphrase(texts[PASSPHRASE], &passphrase, error) &&
                safe_get_settings(backup, &passphrase, &settings, error);
        crypto_wipe(&passphrase, sizeof(passphrase));
    }
    if (!whole) {
        return ctl_fail("backup verify", error);
    }
    JSON_AUTO told = describe(backup, backup);
    ctl_print(ctl, told, NULL);
    return CTL_OK;
}

int ctl_backup(struct ctl *ctl, int argc, char **argv)
{
    static const struct ctl_word WORDS[] = {{"list", list}, {"make", make}, {"verify", verify}};
    return ctl_run_word(ctl, WORDS, ARRAY_SIZE(WORDS), argc, argv);
}
