/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygatectl restore BACKUP: all or nothing, as pg_restore does it in one transaction; then rights are
 * given, and what is there is compared with what the backup noted, and the rollups with the events.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "analytics/rebuild.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/packed.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "ctl/safe.h"
#include "store/migrate.h"

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
    /* The keys went, and the log has an entry of it: see make_new(). */
    "FULL JOIN jsonb_each(count_rows()) f USING (key) WHERE key <> 'signing_keys' "
    "AND w.value IS DISTINCT FROM to_jsonb((f.value)::bigint - (key = 'audit_log')::int) ORDER BY 1"};

static int load(struct ctl *ctl, const char *backup, const char *database)
{
    char option[200], error[SAFE_ERROR_SIZE] = "";
    const char *const argv[] = {
        "pg_restore",    "--no-owner", "--no-acl", "--no-comments", "--exit-on-error", "--single-transaction",
        "--no-password", option,       NULL};
    struct ctl_progress bar;
    if ((size_t)snprintf(option, sizeof(option), "--dbname=%s", database) >= sizeof(option)) {
        return ctl_fail("restore", "the database's name is too long");
    }
    const struct progress progress = ctl_progress_begin(&bar, "restoring", true);
    bool loaded = safe_feed(backup, argv, ctl_owner_url(ctl), &progress, error);
    ctl_progress_end(&bar);
    if (!loaded) {
        ctl_fail("restore", error);
        return ctl_fail("restore", "nothing was restored");
    }
    return CTL_OK;
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
    if (schema > migrate_required()) {
        return ctl_fail("restore", "the backup is of a later version than this program knows");
    }
    if (pg_query(owner, &EMPTY, NULL, &empty) != ERR_OK) {
        return ctl_database_failed("restore");
    }
    if (!pg_get_bool(empty, 0, 0)) {
        return ctl_fail(
            "restore",
            "the database is not empty; make another one, and name it in the settings (or, if it was restored and only the end is missing, use --finish)");
    }
    int code = load(ctl, backup, pg_get_text(empty, 0, 1));
    if (code) {
        return code;
    }
    JSON_AUTO detail = json_object_new_object();
    json_add(detail, "created_at", json_object_get(json_object_object_get(manifest, "created_at")));
    code = finish(
        owner,
        json_text(detail, &length)); /* at once: whatever comes, tokens of a later time are good no more */
    if (code || pg_query(owner, &ANALYZE, NULL, NULL) != ERR_OK) {
        return code ? code : ctl_database_failed("restore");
    }
    if (schema < migrate_required()) {
        fputs("tallygatectl: restore: the backup is of an earlier version; run tallygatectl migrate up\n",
              stderr);
    } else if (!grant(ctl, owner)) {
        return ctl_fail(
            "restore",
            "it is there, but the role of database_url could not be given what it needs; run tallygatectl migrate up");
    }
    return compare(ctl, owner, manifest);
}

static bool exists(const char *directory, const char *name)
{
    char path[SAFE_PATH_SIZE];
    return safe_path(path, directory, name) && access(path, F_OK) == 0;
}

static bool put_hex(const char *directory, const char *name, const char *hex, char *error)
{
    char path[SAFE_PATH_SIZE];
    size_t length = hex ? strlen(hex) / 2 : 0;
    uint8_t *bytes = mem_alloc(length + 1);
    bool put = hex && crypto_unhex(hex, bytes, length) && safe_path(path, directory, name) &&
               packed_put(path, bytes, length, error);
    crypto_wipe(bytes, length);
    free(bytes);
    return put;
}

/* Into files that do not exist yet: nobody's settings are overwritten. */
static int restore_settings(struct ctl *ctl, const char *backup, const char *directory,
                            const char *passphrase_file)
{
    char error[SAFE_ERROR_SIZE] = "";
    struct safe_passphrase passphrase;
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
    if (exists(directory, "tallygate.conf") || exists(directory, "secret.key")) {
        return ctl_fail("restore",
                        "tallygate.conf or secret.key is there already, and nothing is overwritten");
    }
    bool put = put_hex(directory, "tallygate.conf",
                       json_object_get_string(json_object_object_get(settings, "settings_hex")), error) &&
               put_hex(directory, "secret.key",
                       json_object_get_string(json_object_object_get(settings, "secret_hex")), error);
    if (!put) {
        return ctl_fail("restore", *error ? error : "the sealed settings are not ours");
    }
    if (!ctl->json) {
        printf(
            "tallygate.conf and secret.key are in %s; look whether database_url and secret_key_file are right for here\n",
            directory);
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
    } else if (!code && texts[FINISH]) {
        puts("the signing keys are gone, and the installation has another id; start the pools");
    }
    return code;
}
