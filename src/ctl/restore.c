/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygatectl restore BACKUP: all or nothing, as pg_restore does it in one transaction; then rights are
 * given, and what is there is compared with what the backup noted, and the rollups with the events.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analytics/rebuild.h"
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

static const struct pg_statement EMPTY = {
    "restore_empty",
    "SELECT NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')), current_database()"};
static const struct pg_statement WHO = {"restore_who", "SELECT current_user"};
/* Answers that are kept outside of the database, as in a Redis, are of a time that did not happen; they go by
 * this id. */
static const struct pg_statement RENEW = {"restore_renew", "UPDATE installation SET id = gen_random_uuid()"};
/* So are access tokens: sequences give their numbers to others now. The pools make a new key when there is
 * none. */
static const struct pg_statement FORGET_KEYS = {"restore_keys", "DELETE FROM signing_keys"};
static const struct pg_statement NOTE = {
    "restore_note", "INSERT INTO audit_log (action, subject, detail) VALUES ('database.restored', "
                    "'installation:' || (SELECT id FROM installation), $1::jsonb)"};
static const struct pg_statement ANALYZE = {"restore_analyze", "ANALYZE"};
/* Tables whose rows differ from what was noted: each with what it should have, and has. */
static const struct pg_statement DIFFERENCES = {
    "restore_differences",
    "SELECT coalesce(w.key, f.key) AS \"table\", w.value AS noted, f.value AS found FROM jsonb_each($1::jsonb) w "
    "FULL JOIN jsonb_each(count_rows()) f USING (key) WHERE w.value IS DISTINCT FROM f.value ORDER BY 1"};

static int load(struct ctl *ctl, const char *backup, const char *database)
{
    char path[SAFE_PATH_SIZE], option[200], error[PACKED_ERROR_SIZE] = "";
    const char *const argv[] = {
        "pg_restore",    "--no-owner", "--no-acl", "--no-comments", "--exit-on-error", "--single-transaction",
        "--no-password", option,       NULL};
    struct child child;
    struct ctl_progress bar;
    if ((size_t)snprintf(option, sizeof(option), "--dbname=%s", database) >= sizeof(option) ||
        !safe_path(path, backup, SAFE_DUMP)) {
        return ctl_fail("restore", "a name is too long");
    }
    struct packed_reader *reader = packed_open(path, error);
    if (!reader) {
        return ctl_fail("restore", error);
    }
    if (!child_start(&child, argv, ctl_owner_url(ctl), true, false)) {
        packed_close(reader);
        return CTL_FAILED;
    }
    const struct progress progress = ctl_progress_begin(&bar, "restoring", true);
    char *chunk = mem_alloc(CHUNK_BYTES);
    ssize_t n;
    bool taken = true;
    signal(SIGPIPE, SIG_IGN);
    while (taken && (n = packed_read(reader, chunk, CHUNK_BYTES, error)) > 0) {
        taken = child_write(&child, chunk, (size_t)n);
        progress_tell(&progress, packed_place(reader), packed_size(reader));
    }
    ctl_progress_end(&bar);
    packed_close(reader);
    free(chunk);
    if (*error) {
        child_stop(&child);
        return ctl_fail("restore", error);
    }
    return child_finish(&child) ? CTL_OK : ctl_fail("restore", "nothing was restored");
}

static enum err make_new(struct pg *pg, void *argument)
{
    struct pg_params params = {0};
    pg_text(&params, argument);
    enum err e = pg_query(pg, &RENEW, NULL, NULL);
    e = e ? e : pg_query(pg, &FORGET_KEYS, NULL, NULL);
    return e ? e : pg_query(pg, &NOTE, &params, NULL);
}

/* What is to be done wherever a database was brought back to an earlier time, by whatever means. `detail` is
 * JSON. */
static int finish(struct pg *owner, const char *detail)
{
    return pg_transaction(owner, make_new, (void *)detail) == ERR_OK ? CTL_OK
                                                                     : ctl_database_failed("restore");
}

/* The role of the pools, when it is another one. */
static bool grant(struct ctl *ctl, struct pg *owner)
{
    PG_RESULT_AUTO role = NULL;
    return owner == ctl->pg || (pg_query(ctl->pg, &WHO, NULL, &role) == ERR_OK &&
                                migrate_grant(owner, pg_get_text(role, 0, 0)) == ERR_OK);
}

static int compare(struct ctl *ctl, struct pg *owner, struct json_object *manifest)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO differences = NULL;
    struct rebuild_found found;
    struct ctl_progress bar;
    size_t length;
    const struct rebuild look = {.mend = false};
    struct json_object *rows = json_object_object_get(manifest, "rows");
    pg_text(&params, json_text(rows, &length));
    if (pg_query(owner, &DIFFERENCES, &params, &differences) != ERR_OK) {
        return ctl_database_failed("restore");
    }
    for (int row = 0; row < PQntuples(differences); row++) {
        const char *noted = pg_get_text(differences, row, 1), *there = pg_get_text(differences, row, 2);
        fprintf(stderr, "tallygatectl: restore: %s has %s rows, and the backup noted %s\n",
                pg_get_text(differences, row, 0), there ? there : "no", noted ? noted : "none");
    }
    const struct progress progress = ctl_progress_begin(&bar, "comparing", false);
    enum err e = rebuild_run(owner, &look, &progress, &found);
    ctl_progress_end(&bar);
    if (e) {
        return ctl_database_failed("restore");
    }
    if (found.wrong) {
        fprintf(
            stderr,
            "tallygatectl: restore: %lld rows of rollups differ from the events; see tallygatectl events rebuild-rollups\n",
            (long long)found.wrong);
    }
    JSON_AUTO told = json_object_new_object();
    json_add(told, "created_at", json_object_get(json_object_object_get(manifest, "created_at")));
    json_add(told, "schema", json_object_get(json_object_object_get(manifest, "schema")));
    json_add_int(told, "tables", json_object_object_length(rows));
    json_add_int(told, "tables_that_differ", PQntuples(differences));
    json_add_int(told, "rollup_rows_that_differ", found.wrong);
    ctl_print(ctl, told, NULL);
    return PQntuples(differences) || found.wrong ? CTL_FAILED : CTL_OK;
}

static int restore_database(struct ctl *ctl, const char *backup)
{
    char error[SAFE_ERROR_SIZE] = "";
    size_t length;
    JSON_AUTO manifest = NULL;
    PG_RESULT_AUTO empty = NULL;
    struct pg *owner = ctl_owner(ctl);
    if (!owner || !safe_check_sums(backup, error) || !safe_get_manifest(backup, &manifest, error)) {
        return owner ? ctl_fail("restore", error) : CTL_FAILED;
    }
    int schema = json_object_get_int(json_object_object_get(manifest, "schema"));
    if (!json_object_is_type(json_object_object_get(manifest, "rows"), json_type_object) || schema < 1) {
        return ctl_fail("restore", "the manifest is not one of ours");
    }
    if (schema > migrate_required()) {
        return ctl_fail("restore", "the backup is of a later version than this program knows");
    }
    if (pg_query(owner, &EMPTY, NULL, &empty) != ERR_OK) {
        return ctl_database_failed("restore");
    }
    if (!pg_get_bool(empty, 0, 0)) {
        return ctl_fail("restore",
                        "the database is not empty; make another one, and name it in the settings");
    }
    int code = load(ctl, backup, pg_get_text(empty, 0, 1));
    if (code) {
        return code;
    }
    if (pg_query(owner, &ANALYZE, NULL, NULL) != ERR_OK || !grant(ctl, owner)) {
        return ctl_database_failed("restore");
    }
    if (schema < migrate_required()) {
        fputs("tallygatectl: restore: the backup is of an earlier version; run tallygatectl migrate up\n",
              stderr);
    }
    code = compare(ctl, owner, manifest);
    JSON_AUTO detail = json_object_new_object();
    json_add(detail, "created_at", json_object_get(json_object_object_get(manifest, "created_at")));
    int finished = finish(owner, json_text(detail, &length));
    return code ? code : finished;
}

static bool put_text(const char *directory, const char *name, const char *text, char *error)
{
    char path[SAFE_PATH_SIZE];
    return safe_path(path, directory, name) && packed_put(path, text, strlen(text), error);
}

/* Into files that do not exist yet: nobody's settings are overwritten. */
static int restore_settings(struct ctl *ctl, const char *backup, const char *directory,
                            const char *passphrase_file)
{
    char error[SAFE_ERROR_SIZE] = "";
    struct safe_passphrase passphrase;
    uint8_t secret[CONFIG_SECRET_MAX];
    char path[SAFE_PATH_SIZE];
    JSON_AUTO settings = NULL;
    bool opened = safe_read_passphrase(passphrase_file, &passphrase, error) &&
                  safe_get_settings(backup, &passphrase, &settings, error);
    crypto_wipe(&passphrase, sizeof(passphrase));
    if (!opened) {
        return ctl_fail("restore", error);
    }
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "tallygatectl: restore: %s: %s\n", directory, strerror(errno));
        return CTL_FAILED;
    }
    const char *hex = json_object_get_string(json_object_object_get(settings, "secret_hex"));
    const char *text = json_object_get_string(json_object_object_get(settings, "settings"));
    size_t length = hex ? strlen(hex) / 2 : 0;
    bool put = hex && text && length <= sizeof(secret) && crypto_unhex(hex, secret, length) &&
               put_text(directory, "tallygate.conf", text, error) &&
               safe_path(path, directory, "secret.key") && packed_put(path, secret, length, error);
    crypto_wipe(secret, sizeof(secret));
    if (!put) {
        return ctl_fail("restore", *error ? error : "the sealed settings are not ours");
    }
    if (!ctl->json) {
        printf("tallygate.conf and secret.key are in %s\n", directory);
    }
    return CTL_OK;
}

int ctl_restore(struct ctl *ctl, int argc, char **argv)
{
    enum { FINISH, ONLY, PASSPHRASE, SETTINGS, COUNT };
    static const struct option OPTIONS[] = {{"finish", no_argument, NULL, FINISH},
                                            {"only-settings", no_argument, NULL, ONLY},
                                            {"passphrase-file", required_argument, NULL, PASSPHRASE},
                                            {"settings-to", required_argument, NULL, SETTINGS},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    int code = CTL_OK;
    if (first < 0 || first + (texts[FINISH] ? 0 : 1) != argc || (texts[ONLY] && !texts[SETTINGS]) ||
        (texts[FINISH] && (texts[ONLY] || texts[SETTINGS]))) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    if (texts[SETTINGS]) {
        code = restore_settings(ctl, argv[first], texts[SETTINGS],
                                texts[PASSPHRASE] ? texts[PASSPHRASE] : ctl->config->backup_passphrase_file);
    }
    if (!code && !texts[ONLY] && !texts[FINISH]) {
        return restore_database(ctl, argv[first]);
    }
    if (!code && texts[FINISH]) {
        struct pg *owner = ctl_owner(ctl);
        code = owner ? finish(owner, "{}") : CTL_FAILED;
    }
    if (!code && ctl->json) {
        puts("{}");
    }
    return code;
}
