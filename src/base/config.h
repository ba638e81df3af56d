/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings. One table in config.c holds each key's type, default, bounds and help; it serves
 * reading, checking, --show-config and the check that tallygate.conf(5) names every key.
 *
 * Order of precedence: environment (DATABASE_URL, REDIS_URL, SECRET_KEY_FILE), file, default.
 */
#ifndef TALLYGATE_BASE_CONFIG_H
#define TALLYGATE_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CONFIG_SECRET_MAX = 512, CONFIG_ERROR_SIZE = 512 };

enum config_span { CONFIG_MONTH, CONFIG_DAY };

struct config {
    char *database_url;
    char *migration_url;
    char *redis_url;
    char *secret_key_file;
    char *issuer;
    char *audience;
    char *app_url;
    char *mail_from;
    char *smtp_url; /* "": mails wait for tallygatectl mail */
    char *smtp_user;
    char *smtp_password_file;
    char *smtp_ca_file;
    int64_t smtp_tls;   /* 0 or 1 */
    char *cors_origins; /* separated by white space */
    int64_t log_level;  /* enum log_level */
    int64_t access_token_ttl_s;
    int64_t refresh_token_ttl_s;
    int64_t refresh_grace_s;
    int64_t password_grant; /* 0 or 1 */
    int64_t bcrypt_cost;
    int64_t password_min_score;        /* 0 to 4, as zxcvbn counts */
    int64_t login_delays;              /* 0 or 1 */
    int64_t address_change_confirmed;  /* 0 or 1 */
    int64_t profile_requires_password; /* 0 or 1 */
    int64_t rate_login_per_minute;     /* 0: no limit, as for the others */
    int64_t rate_user_per_hour;
    int64_t rate_admin_per_hour;
    int64_t rate_service_per_hour;
    int64_t rate_events_per_second;
    int64_t rate_events_burst;
    int64_t auth_workers;
    int64_t auth_threads;
    int64_t auth_hashes; /* 0: half of the processors */
    int64_t auth_nice;
    int64_t ingest_workers;
    int64_t ingest_threads;
    int64_t ingest_requests;
    int64_t api_workers;
    int64_t api_threads;
    int64_t drain_s;
    int64_t client_timeout_s;
    int64_t database_timeout_ms;
    int64_t database_connect_timeout_s;
    int64_t redis_timeout_ms;
    int64_t ingest_queue_events;
    int64_t ingest_committers;
    int64_t ingest_batch_events;
    int64_t ingest_gather_ms;
    int64_t ingest_wait_ms;
    int64_t events_partition; /* enum config_span */
    int64_t events_keep_days; /* 0: for ever */
    char *archive_dir;
    char *backup_dir;
    int64_t backup_keep; /* 0: all */
    char *backup_passphrase_file;
    int64_t cache_unfinished_ms;
    int64_t jobs_threads;
    int64_t jobs_keep_days;
    int64_t jobs_statement_timeout_s;
    int64_t keys_rotate_days; /* 0: never */
    char *webhook_allow;      /* networks, separated by white space, as the next */
    char *webhook_deny;
    char *events_stream; /* "": none */
    int64_t webhook_keep_days;
    int64_t reports_keep_days;
    char *cache_dir;
    char *trace_endpoint;         /* "": tracing is off */
    int64_t trace_sample;         /* of a million */
    int64_t trace_follow_clients; /* 0 or 1 */

    /* Not a setting: what secret_key_file holds. */
    uint8_t secret[CONFIG_SECRET_MAX];
    size_t secret_length;
};

/* Read defaults, then `path`, then the environment. On failure ret_error says in one line which
 * file, line, key and why. `path` may be NULL for defaults alone. Free with config_free() either way. */
bool config_load(struct config *config, const char *path, char ret_error[CONFIG_ERROR_SIZE]);
/* Read the master secret into config->secret: at least 32 bytes, not readable by group or others. */
bool config_load_secret(struct config *config, char ret_error[CONFIG_ERROR_SIZE]);
/* Read a file that nobody else may read, or a credential that systemd gave to this service alone, without
 * line ends at its end: `min` to `max` bytes. `what` names it in ret_error. */
bool config_read_private(const char *what, const char *path, size_t min, size_t max, uint8_t *ret_bytes,
                         size_t *ret_length, char ret_error[CONFIG_ERROR_SIZE]);
/* Print every setting as `key = value` with its help as a comment; secrets are masked. */
void config_show(const struct config *config, FILE *out);
/* The same as an object of key and value, for the caller to free. */
struct json_object *config_json(const struct config *config);
/* Print the keys alone, one a line. */
void config_list_keys(FILE *out);
void config_free(struct config *config);

#endif
