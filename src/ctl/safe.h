/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup: a directory, named by its time, with
 *   database.dump.zst  what pg_dump writes in its custom format, compressed by zstd
 *   settings.sealed    the settings file and the master secret, sealed with a passphrase (absent when there
 * is none) manifest.json      when it was made, of which version, and how many rows each table had in its
 * snapshot SHA256SUMS         of these, as sha256sum -c reads it It has its name once all of that is on disk
 * and was read again.
 */
#ifndef TALLYGATE_CTL_SAFE_H
#define TALLYGATE_CTL_SAFE_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/progress.h"

#define SAFE_DUMP     "database.dump.zst"
#define SAFE_SETTINGS "settings.sealed"
#define SAFE_MANIFEST "manifest.json"
#define SAFE_SUMS     "SHA256SUMS"

enum { SAFE_PATH_SIZE = 900, SAFE_ERROR_SIZE = 512, SAFE_PASSPHRASE_MAX = 1024 };

struct safe_passphrase {
    uint8_t bytes[SAFE_PASSPHRASE_MAX]; /* wipe it in the end */
    size_t length;
};

/* "DIRECTORY/NAME"; false when that is too long. */
bool safe_path(char ret_path[SAFE_PATH_SIZE], const char *directory, const char *name);
/* The passphrase in `path`. */
bool safe_read_passphrase(const char *path, struct safe_passphrase *ret_passphrase, char *error);

/* Seal the settings file (NULL: none) and the master secret of `config` into the backup. */
bool safe_put_settings(const char *backup, const char *config_path, const struct config *config,
                       const struct safe_passphrase *passphrase, char *error);
/* Open them: an object with the texts settings_hex and secret_hex. */
bool safe_get_settings(const char *backup, const struct safe_passphrase *passphrase,
                       struct json_object **ret_settings, char *error);

/* Write SHA256SUMS of the files that are there. */
bool safe_put_sums(const char *backup, char *error);
/* Compare every file with it. */
bool safe_check_sums(const char *backup, char *error);
/* Read the manifest, which is whole: schema, rows and created_at are there. */
bool safe_get_manifest(const char *backup, struct json_object **ret_manifest, char *error);
/* Let a pg_restore read the dump. `url` is where it connects, or NULL. */
bool safe_feed(const char *backup, const char *const *argv, const char *url, const struct progress *progress,
               char *error);
/* Let pg_restore read the whole dump, without doing anything with it. */
bool safe_check_dump(const char *backup, const struct progress *progress, char *error);

/* Names of the backups in a directory, the oldest first, as an array of texts. */
bool safe_list(const char *directory, struct json_object **ret_names, char *error);
/* The same of those that somebody began to make. */
bool safe_list_partial(const char *directory, struct json_object **ret_names, char *error);

#endif
