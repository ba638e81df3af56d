/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/network.h"

enum { LINE_MAX_BYTES = 4096, SECRET_MIN_BYTES = 32 };

enum setting_type {
    TYPE_TEXT,
    TYPE_SECRET, /* a text that may carry a password: masked when shown */
    TYPE_LIST,   /* words; indented lines go on with the list */
    TYPE_INT,
    TYPE_BOOL,
    TYPE_LEVEL,
    TYPE_SPAN,
};

struct setting {
    const char *key;
    enum setting_type type;
    size_t offset;
    const char *fallback; /* the default, as it would stand in the file */
    int64_t min;          /* integers: bounds of the value; texts: of the length */
    int64_t max;
    const char *environment; /* variable that overrides, or NULL */
    const char *help;
};

#define AT(member) offsetof(struct config, member)

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"database_url", TYPE_SECRET, AT(database_url), "dbname=tallygate", 1, 2000, "DATABASE_URL",
     "PostgreSQL, as a libpq connection string or URI; several hosts give fail-over"},
    {"migration_url", TYPE_SECRET, AT(migration_url), "", 0, 2000, "MIGRATION_URL",
     "the same as the role that owns the schema, for migrations, retention and backups; empty: database_url"},
    {"redis_url", TYPE_SECRET, AT(redis_url), "", 0, 1000, "REDIS_URL",
     "Redis, as redis://[user:password@]host[:port][/db] or unix:/path/to/socket; empty: run without"},
    {"secret_key_file", TYPE_TEXT, AT(secret_key_file), "/etc/tallygate/secret.key", 1, 1000, "SECRET_KEY_FILE",
     "file with the master secret, 32 to 512 bytes, readable by the service alone"},
    {"issuer", TYPE_TEXT, AT(issuer), "https://localhost", 1, 255, NULL,
     "the iss claim of access tokens: the URL by which clients know this service"},
    {"audience", TYPE_TEXT, AT(audience), "tallygate", 1, 255, NULL, "the aud claim of access tokens"},
    {"cors_origins", TYPE_LIST, AT(cors_origins), "", 0, 4000, NULL,
     "origins that browsers may call from, separated by spaces, as in https://app.example.org; empty: none"},
    {"log_level", TYPE_LEVEL, AT(log_level), "info", 0, 0, NULL, "error, warn, info or debug"},
    {"access_token_ttl_s", TYPE_INT, AT(access_token_ttl_s), "900", 10, 86400, NULL,
     "how long an access token is good for, in seconds"},
    {"refresh_token_ttl_s", TYPE_INT, AT(refresh_token_ttl_s), "2592000", 86400, 31536000, NULL,
     "how long a session lives after its refresh token was last used, in seconds"},
    {"refresh_grace_s", TYPE_INT, AT(refresh_grace_s), "30", 0, 600, NULL,
     "how long a used refresh token still gets its successor once more, in seconds"},
    {"password_grant", TYPE_BOOL, AT(password_grant), "yes", 0, 0, NULL,
     "whether POST /token takes grant_type=password, from the first party"},
    {"bcrypt_cost", TYPE_INT, AT(bcrypt_cost), "12", 4, 16, NULL,
     "cost of password hashing, base-2 logarithm of the rounds; each step doubles the time"},
    {"password_min_score", TYPE_INT, AT(password_min_score), "2", 0, 4, NULL,
     "how hard to guess a new password must be, from 0, anything, to 4; 2 takes a million guesses"},
    {"login_delays", TYPE_BOOL, AT(login_delays), "yes", 0, 0, NULL,
     "whether who fails to log in must wait, each time longer"},
    {"address_change_confirmed", TYPE_BOOL, AT(address_change_confirmed), "yes", 0, 0, NULL,
     "whether a new address counts only when a token that is mailed to it came back"},
    {"app_url", TYPE_TEXT, AT(app_url), "", 0, 255, NULL,
     "the URL of the pages that links in mails lead to; empty: the issuer's"},
    {"mail_from", TYPE_TEXT, AT(mail_from), "Tallygate <noreply@localhost>", 3, 320, NULL,
     "whom mails are from, as in a From header"},
    {"smtp_url", TYPE_SECRET, AT(smtp_url), "", 0, 300, NULL,
     "mail server that tallygate-jobd sends by, as smtp://host:port or smtps://host:port; empty: mails wait for tallygatectl mail"},
    {"smtp_user", TYPE_TEXT, AT(smtp_user), "", 0, 255, NULL, "whom to log in as there; empty: nobody"},
    {"smtp_password_file", TYPE_TEXT, AT(smtp_password_file), "", 0, 1000, NULL,
     "file with the password for that, readable by the service alone"},
    {"smtp_tls", TYPE_BOOL, AT(smtp_tls), "yes", 0, 0, NULL,
     "whether the mail server must speak TLS (STARTTLS, for an smtp:// URL)"},
    {"smtp_ca_file", TYPE_TEXT, AT(smtp_ca_file), "", 0, 1000, NULL,
     "file with the certificates to trust there; empty: those that the system trusts"},
    {"profile_requires_password", TYPE_BOOL, AT(profile_requires_password), "yes", 0, 0, NULL,
     "whether a new password or address must come with current_password"},
    {"rate_login_per_minute", TYPE_INT, AT(rate_login_per_minute), "5", 0, 1000000, NULL,
     "registrations, logins and the like from one network in a minute; 0: no limit, as for the next five"},
    {"rate_user_per_hour", TYPE_INT, AT(rate_user_per_hour), "1000", 0, 1000000000, NULL,
     "requests of a person in an hour, and of a key other than those that record"},
    {"rate_admin_per_hour", TYPE_INT, AT(rate_admin_per_hour), "10000", 0, 1000000000, NULL,
     "requests of an administrator in an hour"},
    {"rate_service_per_hour", TYPE_INT, AT(rate_service_per_hour), "10000", 0, 1000000000, NULL,
     "requests of a service in an hour"},
    {"rate_events_per_second", TYPE_INT, AT(rate_events_per_second), "100", 0, 1000000, NULL,
     "requests that record, of a person or a key without a limit of its own, in a second"},
    {"rate_events_burst", TYPE_INT, AT(rate_events_burst), "1000", 1, 1000000000, NULL,
     "how many of these may come at once"},
    {"auth_workers", TYPE_INT, AT(auth_workers), "1", 1, 64, NULL, "processes of the auth pool"},
    {"auth_threads", TYPE_INT, AT(auth_threads), "4", 1, 64, NULL,
     "request threads in each"},
    {"auth_hashes", TYPE_INT, AT(auth_hashes), "0", 0, 64, NULL,
     "passwords that each hashes at once; 0: half as many as there are processors, but one at least"},
    {"auth_nice", TYPE_INT, AT(auth_nice), "10", 0, 19, NULL,
     "by how much the auth pool gives way to others when the processor is short, as in nice(1)"},
    {"ingest_workers", TYPE_INT, AT(ingest_workers), "1", 1, 64, NULL, "processes of the ingest pool"},
    {"ingest_threads", TYPE_INT, AT(ingest_threads), "4", 1, 512, NULL,
     "request threads in each; some more than there are cores"},
    {"ingest_requests", TYPE_INT, AT(ingest_requests), "256", 1, 10000, NULL,
     "requests in each that may wait for a commit at once; further ones wait in the socket's queue"},
    {"api_workers", TYPE_INT, AT(api_workers), "2", 1, 64, NULL, "processes of the api pool"},
    {"api_threads", TYPE_INT, AT(api_threads), "6", 1, 128, NULL,
     "request threads in each; each holds one PostgreSQL connection once it needed one"},
    {"drain_s", TYPE_INT, AT(drain_s), "30", 1, 600, NULL,
     "how long a worker that is told to stop may finish what runs, in seconds"},
    {"client_timeout_s", TYPE_INT, AT(client_timeout_s), "10", 1, 300, NULL,
     "how long one read from or write to the web server may take, in seconds"},
    {"database_timeout_ms", TYPE_INT, AT(database_timeout_ms), "5000", 100, 600000, NULL,
     "limit on one statement, in milliseconds"},
    {"database_connect_timeout_s", TYPE_INT, AT(database_connect_timeout_s), "2", 2, 60, NULL,
     "limit on connecting to one host of database_url, in seconds"},
    {"redis_timeout_ms", TYPE_INT, AT(redis_timeout_ms), "200", 10, 10000, NULL,
     "limit on connecting to Redis and on one command, in milliseconds"},
    {"ingest_queue_events", TYPE_INT, AT(ingest_queue_events), "50000", 1000, 1000000, NULL,
     "events that may wait in one worker; past that, recording answers 503"},
    {"ingest_committers", TYPE_INT, AT(ingest_committers), "2", 1, 16, NULL,
     "transactions that one worker has under way at once; each holds one PostgreSQL connection"},
    {"ingest_batch_events", TYPE_INT, AT(ingest_batch_events), "2000", 1, 10000, NULL,
     "events that one transaction records at the most, but at least one request's"},
    {"ingest_gather_ms", TYPE_INT, AT(ingest_gather_ms), "2", 0, 100, NULL,
     "how long a transaction waits for company while others are about, in milliseconds"},
    {"ingest_wait_ms", TYPE_INT, AT(ingest_wait_ms), "5000", 100, 60000, NULL,
     "how long recording waits for the database before it answers 503, in milliseconds"},
    {"events_stream", TYPE_TEXT, AT(events_stream), "tallygate:events", 0, 200, NULL,
     "key in Redis of the stream of domain events; empty: none"},
    {"events_partition", TYPE_SPAN, AT(events_partition), "month", 0, 0, NULL,
     "month or day: how much time one partition of the events holds; day for many millions a day"},
    {"events_keep_days", TYPE_INT, AT(events_keep_days), "0", 0, 36500, NULL,
     "days after which events are archived and dropped, by whole partitions, at least 62; 0: never. What they counted for stays"},
    {"archive_dir", TYPE_TEXT, AT(archive_dir), "/var/lib/tallygate/archive", 0, 500, NULL,
     "directory that dropped events are written into; empty: drop them without"},
    {"backup_dir", TYPE_TEXT, AT(backup_dir), "/var/lib/tallygate/backup", 1, 500, NULL,
     "directory that tallygatectl backup makes backups in"},
    {"backup_keep", TYPE_INT, AT(backup_keep), "7", 0, 10000, NULL,
     "how many backups stay there: when one is made, the oldest go; 0: all"},
    {"backup_passphrase_file", TYPE_TEXT, AT(backup_passphrase_file), "/etc/tallygate/backup.passphrase", 1, 1000, NULL,
     "file with the passphrase that a backup's settings and master secret are sealed with, readable by its owner alone"},
    {"cache_unfinished_ms", TYPE_INT, AT(cache_unfinished_ms), "1000", 0, 1000, NULL,
     "how long figures of a period that goes on may be shown again, in milliseconds; 0: never"},
    {"jobs_threads", TYPE_INT, AT(jobs_threads), "4", 1, 64, NULL, "jobs that one tallygate-jobd runs at once"},
    {"jobs_keep_days", TYPE_INT, AT(jobs_keep_days), "7", 1, 365, NULL,
     "how long jobs that are done stay to be looked at, in days"},
    {"jobs_statement_timeout_s", TYPE_INT, AT(jobs_statement_timeout_s), "300", 1, 86400, NULL,
     "limit on one statement of a job, in seconds"},
    {"keys_rotate_days", TYPE_INT, AT(keys_rotate_days), "90", 0, 3650, NULL,
     "age of the signing key at which tallygate-jobd brings in the next one, in days; 0: never"},
    {"webhook_allow", TYPE_LIST, AT(webhook_allow), "", 0, 4000, NULL,
     "networks that webhooks may be in besides the public one, separated by spaces, as in 10.1.0.0/16 ::1"},
    {"webhook_deny", TYPE_LIST, AT(webhook_deny), "", 0, 4000, NULL,
     "networks that webhooks may not be in, though they are public: those of the site itself"},
    {"webhook_keep_days", TYPE_INT, AT(webhook_keep_days), "30", 4, 365, NULL,
     "how long events that were told, and their deliveries, stay to be looked at and sent again, in days"},
    {"reports_keep_days", TYPE_INT, AT(reports_keep_days), "30", 1, 60, NULL,
     "how long reports that were made stay to be fetched, in days"},
    {"cache_dir", TYPE_TEXT, AT(cache_dir), "/var/cache/tallygate", 1, 200, NULL,
     "directory that files are put into for nginx to send, whose group is nginx's"},
    {"trace_endpoint", TYPE_TEXT, AT(trace_endpoint), "", 0, 500, NULL,
     "URL of a collector of traces that takes OTLP/HTTP as JSON, as in http://127.0.0.1:4318/v1/traces; empty: no traces"},
    {"trace_sample", TYPE_INT, AT(trace_sample), "10000", 0, 1000000, NULL,
     "how many of a million requests are traced"},
    {"trace_follow_clients", TYPE_BOOL, AT(trace_follow_clients), "no", 0, 0, NULL,
     "whether a request is also traced because its traceparent says so"},
};
/* clang-format on */

static const char *const LEVELS[] = {"error", "warn", "info", "debug"};
static const char *const SPANS[] = {"month", "day"};

/* The words that a setting of this type may be, in the order of their numbers; NULL for other types. */
static const char *const *words_of(enum setting_type type, size_t *ret_count)
{
    *ret_count = type == TYPE_LEVEL ? ARRAY_SIZE(LEVELS) : type == TYPE_SPAN ? ARRAY_SIZE(SPANS) : 0;
    return type == TYPE_LEVEL ? LEVELS : type == TYPE_SPAN ? SPANS : NULL;
}

static bool fail(char *ret_error, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(char *ret_error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_error, CONFIG_ERROR_SIZE, format, args);
    va_end(args);
    return false;
}

static char **text_of(struct config *config, const struct setting *setting)
{
    return (char **)((char *)config + setting->offset);
}

static int64_t *number_of(struct config *config, const struct setting *setting)
{
    return (int64_t *)((char *)config + setting->offset);
}

static bool is_text(const struct setting *setting)
{
    return setting->type == TYPE_TEXT || setting->type == TYPE_SECRET || setting->type == TYPE_LIST;
}

static const struct setting *find_setting(const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        if (strcmp(SETTINGS[i].key, key) == 0) {
            return &SETTINGS[i];
        }
    }
    return NULL;
}

/* Settings that are a URL, when they are not empty, and of what kinds. */
static const struct {
    const char *key, *schemes[2];
} URLS[] = {
    {"smtp_url", {"smtp://", "smtps://"}},
    {"trace_endpoint", {"http://", "https://"}},
};

static bool check_url(const char *key, const char *value, char *reason, size_t reason_size)
{
    for (size_t i = 0; *value && i < ARRAY_SIZE(URLS); i++) {
        const char *const *schemes = URLS[i].schemes;
        if (strcmp(URLS[i].key, key) == 0 && strncasecmp(value, schemes[0], strlen(schemes[0])) != 0 &&
            strncasecmp(value, schemes[1], strlen(schemes[1])) != 0) {
            snprintf(reason, reason_size, "must begin with %s or %s", schemes[0], schemes[1]);
            return false;
        }
    }
    return true;
}

static bool check_networks(const char *key, const char *value, char *reason, size_t reason_size)
{
    const char *word;
    size_t length;
    bool networks = strcmp(key, "webhook_allow") == 0 || strcmp(key, "webhook_deny") == 0;
    if (networks && !network_list_valid(value, &word, &length)) {
        snprintf(reason, reason_size, "must be networks as in 10.1.0.0/16, which '%.*s' is not",
                 (int)(length > 40 ? 40 : length), word);
        return false;
    }
    return true;
}

/* Set from text; `reason` gets a phrase that never repeats the value of a secret. */
static bool set_value(struct config *config, const struct setting *setting, const char *value, bool append,
                      char *reason, size_t reason_size)
{
    if (is_text(setting)) {
        char **text = text_of(config, setting);
        size_t before = append && *text ? strlen(*text) : 0;
        size_t length = before + (before ? 1 : 0) + strlen(value);
        if (length < (size_t)setting->min || length > (size_t)setting->max) {
            snprintf(reason, reason_size, "must be %lld to %lld bytes long", (long long)setting->min,
                     (long long)setting->max);
            return false;
        }
        if (!check_url(setting->key, value, reason, reason_size) ||
            !check_networks(setting->key, value, reason, reason_size)) {
            return false;
        }
        char *joined = mem_alloc(length + 1);
        snprintf(joined, length + 1, "%s%s%s", before ? *text : "", before ? " " : "", value);
        free(*text);
        *text = joined;
        return true;
    }
    int64_t *number = number_of(config, setting);
    if (setting->type == TYPE_BOOL) {
        bool yes = strcmp(value, "yes") == 0 || strcmp(value, "on") == 0 || strcmp(value, "true") == 0;
        bool no = strcmp(value, "no") == 0 || strcmp(value, "off") == 0 || strcmp(value, "false") == 0;
        *number = yes;
        snprintf(reason, reason_size, "must be yes or no");
        return yes || no;
    }
    size_t count;
    const char *const *words = words_of(setting->type, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], value) == 0) {
            *number = (int64_t)i;
            return true;
        }
    }
    if (words) {
        snprintf(reason, reason_size, "must be %s",
                 setting->type == TYPE_LEVEL ? "error, warn, info or debug" : "month or day");
        return false;
    }
    char *end;
    errno = 0;
    long long parsed = strtoll(value, &end, 10);
    if (errno || end == value || *end || parsed < setting->min || parsed > setting->max) {
        snprintf(reason, reason_size, "must be a whole number from %lld to %lld", (long long)setting->min,
                 (long long)setting->max);
        return false;
    }
    *number = parsed;
    return true;
}

/* What the reader of inih and our handler share. inih hands on no line number, but it calls the
 * handler right after it read a line, so counting in the reader tells it. */
struct reading {
    struct config *config;
    const char *path;
    FILE *file;
    char *error;
    int line;
    bool indented; /* the current line goes on with the one before */
    bool too_long;
    bool failed;
    bool seen[ARRAY_SIZE(SETTINGS)];
};

static char *read_line(char *line, int size, void *stream)
{
    struct reading *reading = stream;
    if (reading->failed || !fgets(line, size, reading->file)) {
        return NULL;
    }
    reading->line++;
    reading->indented = line[0] == ' ' || line[0] == '\t';
    if (line[strspn(line, " \t")] == '[') {
        reading->failed = true;
        fail(reading->error, "%s:%d: sections are not used here", reading->path, reading->line);
        return NULL;
    }
    if (!strchr(line, '\n') && !feof(reading->file)) {
        reading->too_long = true;
        reading->failed = true;
        fail(reading->error, "%s:%d: the line is longer than %d bytes", reading->path, reading->line,
             size - 2);
        return NULL;
    }
    return line;
}

static int take_setting(void *user, const char *section, const char *key, const char *value)
{
    struct reading *reading = user;
    char reason[128] = "";
    (void)section; /* read_line() lets none through */
    if (reading->failed) {
        return 0;
    }
    reading->failed = true;
    const struct setting *setting = find_setting(key);
    if (!setting) {
        fail(reading->error, "%s:%d: unknown key '%s'", reading->path, reading->line, key);
        return 0;
    }
    size_t index = (size_t)(setting - SETTINGS);
    bool append = reading->seen[index] && reading->indented && setting->type == TYPE_LIST;
    if (reading->seen[index] && !append) {
        fail(reading->error, "%s:%d: '%s' is set twice", reading->path, reading->line, key);
        return 0;
    }
    if (!set_value(reading->config, setting, value, append, reason, sizeof(reason))) {
        fail(reading->error, "%s:%d: %s %s", reading->path, reading->line, key, reason);
        return 0;
    }
    reading->seen[index] = true;
    reading->failed = false;
    return 1;
}

static bool read_file(struct config *config, const char *path, char *ret_error)
{
    struct reading reading = {.config = config, .path = path, .error = ret_error};
    reading.file = fopen(path, "re");
    if (!reading.file) {
        return fail(ret_error, "%s: cannot be read: %s", path, strerror(errno));
    }
    ini_use_stack = false;
    ini_max_line = LINE_MAX_BYTES;
    ini_initial_alloc = LINE_MAX_BYTES;
    int bad_line = ini_parse_stream(read_line, &reading, take_setting, &reading);
    bool read_error = ferror(reading.file) != 0;
    fclose(reading.file);
    if (reading.failed) {
        return false;
    }
    if (read_error) {
        return fail(ret_error, "%s: cannot be read: %s", path, strerror(EIO));
    }
    if (bad_line) {
        return fail(ret_error, "%s:%d: expected 'key = value'", path, bad_line);
    }
    return true;
}

bool config_load(struct config *config, const char *path, char ret_error[CONFIG_ERROR_SIZE])
{
    char reason[128];
    *config = (struct config){0};
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        if (!set_value(config, &SETTINGS[i], SETTINGS[i].fallback, false, reason, sizeof(reason))) {
            return fail(ret_error, "default of %s: %s", SETTINGS[i].key, reason);
        }
    }
    if (path && !read_file(config, path, ret_error)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        const char *value = SETTINGS[i].environment ? getenv(SETTINGS[i].environment) : NULL;
        if (value && !set_value(config, &SETTINGS[i], value, false, reason, sizeof(reason))) {
            return fail(ret_error, "environment variable %s: %s", SETTINGS[i].environment, reason);
        }
    }
    return true;
}

/* systemd's copy (LoadCredential=) is for this service alone, which it may grant by an access control list:
 * that shows as a right of the group. */
static bool is_credential(const char *path)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    size_t length = directory ? strlen(directory) : 0;
    return length > 1 && strncmp(path, directory, length) == 0 && path[length] == '/' &&
           !strchr(path + length + 1, '/');
}

bool config_read_private(const char *what, const char *path, size_t min, size_t max, uint8_t *ret_bytes,
                         size_t *ret_length, char ret_error[CONFIG_ERROR_SIZE])
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail(ret_error, "%s %s: cannot be read: %s", what, path, strerror(errno));
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return fail(ret_error, "%s %s: is not a regular file", what, path);
    }
    if ((st.st_mode & (S_IRWXG | S_IRWXO)) && !is_credential(path)) {
        close(fd);
        return fail(ret_error, "%s %s: others can read it (mode %03o); chmod 0600 it", what, path,
                    (unsigned)(st.st_mode & 0777));
    }
    ssize_t n = read(fd, ret_bytes, max);
    int saved_errno = errno;
    close(fd);
    if (n < 0) {
        return fail(ret_error, "%s %s: cannot be read: %s", what, path, strerror(saved_errno));
    }
    while (n > 0 && (ret_bytes[n - 1] == '\n' || ret_bytes[n - 1] == '\r')) {
        n--;
    }
    if ((size_t)n < min) {
        return fail(ret_error, "%s %s: holds %zd bytes; at least %zu are needed", what, path, n, min);
    }
    if (st.st_size > (off_t)max) {
        return fail(ret_error, "%s %s: is longer than %zu bytes", what, path, max);
    }
    *ret_length = (size_t)n;
    return true;
}

bool config_load_secret(struct config *config, char ret_error[CONFIG_ERROR_SIZE])
{
    return config_read_private("secret_key_file", config->secret_key_file, SECRET_MIN_BYTES,
                               CONFIG_SECRET_MAX, config->secret, &config->secret_length, ret_error);
}

/* As it would stand in the file, but for secrets. `scratch` holds numbers. */
static const char *value_text(const struct config *config, const struct setting *setting, char scratch[24])
{
    const char *at = (const char *)config + setting->offset;
    if (is_text(setting)) {
        const char *text = *(char *const *)at;
        return setting->type == TYPE_SECRET && *text ? "(hidden)" : text;
    }
    int64_t number = *(const int64_t *)at;
    size_t count;
    const char *const *words = words_of(setting->type, &count);
    if (setting->type == TYPE_BOOL) {
        return number ? "yes" : "no";
    }
    snprintf(scratch, 24, "%lld", (long long)number);
    return words ? words[number] : scratch;
}

void config_show(const struct config *config, FILE *out)
{
    char scratch[24];
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        fprintf(out, "# %s\n%s = %s\n", SETTINGS[i].help, SETTINGS[i].key,
                value_text(config, &SETTINGS[i], scratch));
    }
}

struct json_object *config_json(const struct config *config)
{
    char scratch[24];
    struct json_object *object = json_object_new_object();
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        const struct setting *setting = &SETTINGS[i];
        const char *at = (const char *)config + setting->offset;
        if (setting->type == TYPE_INT) {
            json_add_int(object, setting->key, *(const int64_t *)at);
        } else if (setting->type == TYPE_BOOL) {
            json_add(object, setting->key, json_object_new_boolean(*(const int64_t *)at != 0));
        } else {
            json_add_string(object, setting->key, value_text(config, setting, scratch));
        }
    }
    return object;
}

void config_list_keys(FILE *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        fprintf(out, "%s\n", SETTINGS[i].key);
    }
}

void config_free(struct config *config)
{
    for (size_t i = 0; i < ARRAY_SIZE(SETTINGS); i++) {
        if (is_text(&SETTINGS[i])) {
            char **text = text_of(config, &SETTINGS[i]);
            free(*text);
            *text = NULL;
        }
    }
    crypto_wipe(config->secret, sizeof(config->secret));
}
