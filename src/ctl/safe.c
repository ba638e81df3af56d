/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/safe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/packed.h"
#include "ctl/child.h"

enum { PASSPHRASE_MIN = 12, SMALL_MAX = 1024 * 1024, CHUNK_BYTES = 256 * 1024 };

static const char HEAD[] = "tallygate sealed settings 1\n"; /* then the salt, then what is sealed */
static const char LABEL[] = "backup settings";
static const char *const FILES[] = {SAFE_DUMP, SAFE_SETTINGS, SAFE_MANIFEST};

static bool fail(char *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(char *error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, SAFE_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

bool safe_path(char ret_path[SAFE_PATH_SIZE], const char *directory, const char *name)
{
    return (size_t)snprintf(ret_path, SAFE_PATH_SIZE, "%s/%s", directory, name) < SAFE_PATH_SIZE;
}

bool safe_read_passphrase(const char *path, struct safe_passphrase *ret_passphrase, char *error)
{
    return config_read_private("backup_passphrase_file", path, PASSPHRASE_MIN, SAFE_PASSPHRASE_MAX,
                               ret_passphrase->bytes, &ret_passphrase->length, error);
}

/* A whole small file, for the caller to free; NULL after saying why. */
static char *read_small(const char *path, size_t *ret_length, char *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail(error, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode) || st.st_size > SMALL_MAX) {
        fail(error, "%s: is no file of such a kind", path);
    } else {
        char *text = mem_alloc((size_t)st.st_size + 1);
        size_t length = 0;
        ssize_t n;
        while (length < (size_t)st.st_size &&
               (n = read(fd, text + length, (size_t)st.st_size - length)) > 0) {
            length += (size_t)n;
        }
        text[length] = '\0';
        close(fd);
        *ret_length = length;
        return text;
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

/* ---- settings ---- */

bool safe_put_settings(const char *backup, const char *config_path, const struct config *config,
                       const struct safe_passphrase *passphrase, char *error)
{
    char path[SAFE_PATH_SIZE], secret[2 * CONFIG_SECRET_MAX + 1];
    size_t settings_length = 0, length;
    char *settings = config_path ? read_small(config_path, &settings_length, error) : mem_strdup("");
    JSON_AUTO object = json_object_new_object();
    if (!settings || !safe_path(path, backup, SAFE_SETTINGS)) {
        free(settings);
        return settings ? fail(error, "the path is too long") : false;
    }
    /* As hex: a file may hold bytes that no text of JSON can. */
    char *hex = mem_alloc(2 * settings_length + 1);
    crypto_hex((const uint8_t *)settings, settings_length, hex);
    crypto_hex(config->secret, config->secret_length, secret);
    json_add_string(object, "settings_hex", hex);
    json_add_string(object, "secret_hex", secret);
    crypto_wipe(hex, 2 * settings_length);
    free(hex);
    const char *text = json_text(object, &length);
    size_t head = sizeof(HEAD) - 1, total = head + CRYPTO_SALT_SIZE + length + CRYPTO_SEAL_OVERHEAD;
    uint8_t *file = mem_alloc(total), key[CRYPTO_KEY_SIZE];
    memcpy(file, HEAD, head);
    crypto_random(file + head, CRYPTO_SALT_SIZE);
    bool done = crypto_stretch(passphrase->bytes, passphrase->length, file + head, key) &&
                crypto_seal(key, LABEL, (const uint8_t *)text, length, file + head + CRYPTO_SALT_SIZE);
    crypto_wipe(key, sizeof(key));
    crypto_wipe(secret, sizeof(secret));
    done = done ? packed_put(path, file, total, error) : fail(error, "the settings cannot be sealed");
    crypto_wipe(settings, settings_length);
    free(settings);
    free(file);
    /* What cannot be opened again is no backup. */
    JSON_AUTO opened = NULL;
    return done && safe_get_settings(backup, passphrase, &opened, error);
}

bool safe_get_settings(const char *backup, const struct safe_passphrase *passphrase,
                       struct json_object **ret_settings, char *error)
{
    char path[SAFE_PATH_SIZE];
    size_t length, head = sizeof(HEAD) - 1;
    uint8_t key[CRYPTO_KEY_SIZE];
    struct json_fault fault;
    struct json_object *settings = NULL;
    char *file = safe_path(path, backup, SAFE_SETTINGS) ? read_small(path, &length, error) : NULL;
    if (!file) {
        return false;
    }
    if (length < head + CRYPTO_SALT_SIZE + CRYPTO_SEAL_OVERHEAD || memcmp(file, HEAD, head) != 0) {
        free(file);
        return fail(error, "%s: holds no sealed settings", path);
    }
    const uint8_t *salt = (const uint8_t *)file + head, *sealed = salt + CRYPTO_SALT_SIZE;
    size_t sealed_length = length - head - CRYPTO_SALT_SIZE,
           text_length = sealed_length - CRYPTO_SEAL_OVERHEAD;
    char *text = mem_zalloc(text_length + 1, 1);
    bool opened = crypto_stretch(passphrase->bytes, passphrase->length, salt, key) &&
                  crypto_open(key, LABEL, sealed, sealed_length, (uint8_t *)text);
    crypto_wipe(key, sizeof(key));
    opened = opened && json_parse(text, text_length, &settings, &fault) &&
             json_object_is_type(settings, json_type_object);
    crypto_wipe(text, text_length);
    free(text);
    free(file);
    if (!opened) {
        json_object_put(settings);
        return fail(error, "%s: does not open with this passphrase", path);
    }
    *ret_settings = settings;
    return true;
}

/* ---- sums ---- */

bool safe_put_sums(const char *backup, char *error)
{
    char path[SAFE_PATH_SIZE], hex[2 * CRYPTO_SHA256_SIZE + 1], text[1024];
    size_t length = 0;
    for (size_t i = 0; i < ARRAY_SIZE(FILES); i++) {
        if (!safe_path(path, backup, FILES[i])) {
            return fail(error, "%s: the path is too long", backup);
        }
        if (access(path, F_OK) == 0) {
            if (!packed_sum_file(path, hex, error)) {
                return false;
            }
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s  %s\n", hex, FILES[i]);
        }
    }
    return safe_path(path, backup, SAFE_SUMS) && packed_put(path, text, length, error);
}

bool safe_check_sums(const char *backup, char *error)
{
    char path[SAFE_PATH_SIZE], hex[2 * CRYPTO_SHA256_SIZE + 1];
    size_t length;
    unsigned found = 0;
    char *sums = safe_path(path, backup, SAFE_SUMS) ? read_small(path, &length, error) : NULL;
    bool fine = sums != NULL;
    for (size_t i = 0; fine && i < ARRAY_SIZE(FILES); i++) {
        char line[200];
        snprintf(line, sizeof(line), "  %s\n", FILES[i]);
        const char *at = strstr(sums, line);
        if (!at || at - sums < 2 * CRYPTO_SHA256_SIZE) {
            continue;
        }
        found |= 1U << i;
        fine = safe_path(path, backup, FILES[i]) && packed_sum_file(path, hex, error);
        if (fine && strncmp(at - 2 * CRYPTO_SHA256_SIZE, hex, 2 * CRYPTO_SHA256_SIZE) != 0) {
            fine = fail(error, "%s: is not as it was written", path);
        }
    }
    free(sums);
    return fine &&
           ((found & 5) == 5 ||
            fail(error, "%s: names neither dump nor manifest, or only one of them", path)); /* FILES */
}

bool safe_get_manifest(const char *backup, struct json_object **ret_manifest, char *error)
{
    char path[SAFE_PATH_SIZE];
    size_t length;
    struct json_fault fault;
    char *text = safe_path(path, backup, SAFE_MANIFEST) ? read_small(path, &length, error) : NULL;
    if (!text) {
        return false;
    }
    bool read = json_parse(text, length, ret_manifest, &fault) &&
                json_object_is_type(*ret_manifest, json_type_object);
    free(text);
    return read || fail(error, "%s: is no manifest", path);
}

bool safe_check_dump(const char *backup, const struct progress *progress, char *error)
{
    static const char *const ARGV[] = {"pg_restore", "--file=/dev/null", NULL};
    return safe_feed(backup, ARGV, NULL, progress, error);
}

bool safe_feed(const char *backup, const char *const *argv, const char *url, const struct progress *progress,
               char *error)
{
    char path[SAFE_PATH_SIZE];
    struct child child;
    struct packed_reader *reader = safe_path(path, backup, SAFE_DUMP) ? packed_open(path, error) : NULL;
    if (!reader) {
        return false;
    }
    if (!child_start(&child, argv, url, true, false)) {
        packed_close(reader);
        return fail(error, "%s: pg_restore cannot be started", path);
    }
    char *chunk = mem_alloc(CHUNK_BYTES);
    ssize_t n;
    bool taken = true;
    signal(SIGPIPE, SIG_IGN);
    while ((n = packed_read(reader, chunk, CHUNK_BYTES, error)) > 0) {
        /* It may be content before the end. */
        taken = taken && child_write(&child, chunk, (size_t)n);
        progress_tell(progress, packed_place(reader), packed_size(reader));
    }
    packed_close(reader);
    free(chunk);
    if (n < 0) {
        child_stop(&child);
        return false;
    }
    return child_finish(&child) || fail(error, "%s: pg_restore does not take it", path);
}

/* ---- the directory ---- */

static int is_backup(const struct dirent *entry)
{
    return strlen(entry->d_name) == 16 && strspn(entry->d_name, "0123456789TZ") == 16 &&
           entry->d_name[8] == 'T' && entry->d_name[15] == 'Z';
}

static int is_partial(const struct dirent *entry)
{
    return strlen(entry->d_name) == 24 && strspn(entry->d_name, "0123456789TZ") == 16 &&
           strcmp(entry->d_name + 16, ".partial") == 0;
}

static bool list(const char *directory, int (*filter)(const struct dirent *), struct json_object **ret_names,
                 char *error)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, filter, alphasort);
    if (count < 0) {
        return fail(error, "%s: %s", directory, strerror(errno));
    }
    struct json_object *names = json_object_new_array();
    for (int i = 0; i < count; i++) {
        json_object_array_add(names, json_object_new_string(entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    *ret_names = names;
    return true;
}

bool safe_list(const char *directory, struct json_object **ret_names, char *error)
{
    return list(directory, is_backup, ret_names, error);
}

bool safe_list_partial(const char *directory, struct json_object **ret_names, char *error)
{
    return list(directory, is_partial, ret_names, error);
}
