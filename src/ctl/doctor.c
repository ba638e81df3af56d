/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygatectl doctor: looks at what an installation needs, and says of each thing whether it is well and, if
 * not, what to do. Each check is a function that fills in a finding; one that needs what an earlier one
 * found missing is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/safe.h"
#include "identity/keyring.h"
#include "store/migrate.h"
#include "store/redis.h"

enum {
    CLOCK_FAULT_MS = 30000,
    CLOCK_WARN_MS = 2000,
    CERTIFICATE_WARN_DAYS = 14,
    DISK_WARN_PERCENT = 15,
    DISK_FAULT_PERCENT = 5,
    MAIL_WAITS_S = 3600,
    TEXT_SIZE = 400
};

enum { BACKUP_WARN_DAYS = 2 };

enum verdict { WELL, WARNING, FAULT };

struct finding {
    enum verdict verdict;
    char text[TEXT_SIZE];
    const char *advice; /* what to do; NULL when it is well */
};

struct doctor {
    struct ctl *ctl;
    const char *sockets;     /* the directory */
    const char *certificate; /* PEM */
    bool has_secret;
    bool has_database;
    bool has_schema;
};

static void say(struct finding *finding, enum verdict verdict, const char *advice, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void say(struct finding *finding, enum verdict verdict, const char *advice, const char *format, ...)
{
    va_list args;
    finding->verdict = verdict;
    finding->advice = advice;
    va_start(args, format);
    vsnprintf(finding->text, TEXT_SIZE, format, args);
    va_end(args);
}

static const struct pg_statement OWNED = {
    "doctor_owned",
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user"};
static const struct pg_statement CLOCK = {"doctor_clock",
                                          "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"};
static const struct pg_statement KEYS = {"doctor_keys", "SELECT count(*) FROM signing_keys"};
static const struct pg_statement STRAYS = {
    "doctor_strays", "SELECT count(*) FROM (SELECT FROM events_default LIMIT 100000) s"};
static const struct pg_statement TAKEN_OUT = {"doctor_taken_out",
                                              "SELECT count(*) FROM event_partitions WHERE NOT attached"};
static const struct pg_statement WAITING = {
    "doctor_waiting", "SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::bigint FROM outbox "
                      "WHERE topic = 'mail' AND done_at IS NULL"};

/* One number that a statement tells. */
static bool ask(struct ctl *ctl, const struct pg_statement *statement, int64_t *ret_number)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(ctl->pg, statement, NULL, &row);
    *ret_number = e || PQntuples(row) == 0 ? 0 : pg_get_int(row, 0, 0);
    return !e;
}

static void database_failed(struct finding *finding)
{
    say(finding, FAULT,
        "See the line above; the role of database_url may lack a right: run tallygatectl migrate up.",
        "the database did not answer the question");
}

/* ---- the checks ---- */

static void check_secret(struct doctor *doctor, struct finding *finding)
{
    char error[CONFIG_ERROR_SIZE];
    doctor->has_secret = config_load_secret(doctor->ctl->config, error);
    if (!doctor->has_secret) {
        say(finding, FAULT,
            "Run this as root; if the file is lost, take it from a backup: nothing else opens the keys.",
            "%s", error);
        return;
    }
    say(finding, WELL, NULL, "%s has %zu bytes, and is its owner's alone",
        doctor->ctl->config->secret_key_file, doctor->ctl->config->secret_length);
}

static void check_database(struct doctor *doctor, struct finding *finding)
{
    int64_t before_us = clock_monotonic_us();
    doctor->has_database = pg_ready(doctor->ctl->pg) == ERR_OK;
    if (!doctor->has_database) {
        say(finding, FAULT,
            "Is PostgreSQL running (systemctl status postgresql), and does database_url name it?",
            "it cannot be reached; see the line above");
        return;
    }
    say(finding, WELL, NULL, "it answers after %" PRId64 " ms", (clock_monotonic_us() - before_us) / 1000);
}

static void check_schema(struct doctor *doctor, struct finding *finding)
{
    int version = 0;
    if (migrate_current(doctor->ctl->pg, &version) != ERR_OK) {
        database_failed(finding);
        return;
    }
    doctor->has_schema = version >= migrate_required();
    say(finding, doctor->has_schema ? WELL : FAULT,
        doctor->has_schema ? NULL : "Run tallygatectl migrate up.", "it is at version %d, and %d is needed",
        version, migrate_required());
}

static void check_role(struct doctor *doctor, struct finding *finding)
{
    int64_t owns;
    if (!ask(doctor->ctl, &OWNED, &owns)) {
        database_failed(finding);
        return;
    }
    if (owns) {
        say(finding, WARNING, "Let another role own the schema; see migration_url in tallygate.conf(5).",
            "the pools' role owns %" PRId64 " tables, and could change the audit log", owns);
    } else {
        say(finding, WELL, NULL, "the pools' role owns nothing");
    }
}

static void check_clock(struct doctor *doctor, struct finding *finding)
{
    int64_t theirs_ms;
    int64_t before_ms = clock_now_us() / 1000;
    if (!ask(doctor->ctl, &CLOCK, &theirs_ms)) {
        database_failed(finding);
        return;
    }
    int64_t after_ms = clock_now_us() / 1000;
    int64_t off_ms = theirs_ms < before_ms  ? before_ms - theirs_ms
                     : theirs_ms > after_ms ? theirs_ms - after_ms
                                            : 0;
    enum verdict verdict = off_ms >= CLOCK_FAULT_MS ? FAULT : off_ms >= CLOCK_WARN_MS ? WARNING : WELL;
    say(finding, verdict,
        verdict ? "Let both hosts follow the time (systemctl status systemd-timesyncd)." : NULL,
        "it is %" PRId64 " ms from the database's", off_ms);
}

static void check_keys(struct doctor *doctor, struct finding *finding)
{
    int64_t count;
    if (!ask(doctor->ctl, &KEYS, &count)) {
        database_failed(finding);
        return;
    }
    if (!count) { /* loading them would make the first */
        say(finding, WARNING, "Start the pools: they make the first one.", "there is none yet");
        return;
    }
    struct keyring *keyring = keyring_new(doctor->ctl->config, doctor->has_secret);
    struct keyring_key key;
    enum err e = doctor->has_secret ? keyring_load(keyring, doctor->ctl->pg) : ERR_INTERNAL;
    e = e ? e : keyring_signer(keyring, &key);
    keyring_free(keyring);
    if (e == ERR_INTERNAL) {
        say(finding, FAULT, "Put the master secret back that the keys were sealed with.",
            "they cannot be opened with this master secret");
    } else if (e) {
        say(finding, FAULT, "See the lines above.", "there is none that signs");
    } else {
        say(finding, WELL, NULL, "%s signs", key.kid);
    }
    crypto_wipe(&key, sizeof(key));
}

static void check_events(struct doctor *doctor, struct finding *finding)
{
    int64_t strays, out;
    if (!ask(doctor->ctl, &STRAYS, &strays) || !ask(doctor->ctl, &TAKEN_OUT, &out)) {
        database_failed(finding);
        return;
    }
    if (out) {
        say(finding, WARNING,
            "Run tallygatectl partition keep, or events prune as before, and see what it says.",
            "%" PRId64 " were taken out to be archived and dropped, and are still there", out);
        return;
    }
    say(finding, strays ? WARNING : WELL,
        strays ? "The ingest pool makes the partitions that are missing; is it running?" : NULL,
        "%" PRId64 "%s events lie outside of a partition of their own", strays,
        strays == 100000 ? " or more" : "");
}

static void check_backup(struct doctor *doctor, struct finding *finding)
{
    static const char ADVICE[] =
        "See backup in tallygatectl(8): a passphrase lets the timer make one each night.";
    const char *directory = doctor->ctl->config->backup_dir;
    char path[SAFE_PATH_SIZE], error[SAFE_ERROR_SIZE];
    JSON_AUTO names = NULL;
    int64_t count = 0, newest_us = 0, now_us = clock_now_us();
    size_t length = safe_list(directory, &names, error) ? json_object_array_length(names) : 0;
    for (size_t i = 0; i < length; i++) {
        JSON_AUTO manifest = NULL;
        int64_t made_us;
        const char *name = json_object_get_string(json_object_array_get_idx(names, i));
        if (!safe_path(path, directory, name) || !safe_get_manifest(path, &manifest, error)) {
            continue;
        }
        const char *made = json_object_get_string(json_object_object_get(manifest, "created_at"));
        if (clock_parse(made, strlen(made), &made_us) &&
            made_us <= now_us + USEC_PER_HOUR) { /* a clock that is wrong makes none */
            newest_us = made_us > newest_us ? made_us : newest_us;
            count++;
        }
    }
    if (!count) {
        say(finding, WARNING, ADVICE, "there is none in %s", directory);
        return;
    }
    int64_t hours = (now_us - newest_us) / USEC_PER_HOUR;
    bool old = hours > BACKUP_WARN_DAYS * 24;
    say(finding, old ? WARNING : WELL, old ? ADVICE : NULL,
        "the last of %" PRId64 " in %s is %" PRId64 " hours old", count, directory, hours > 0 ? hours : 0);
}

/* Who makes partitions and backups. */
static void check_owner(struct doctor *doctor, struct finding *finding)
{
    struct pg *owner = ctl_owner(doctor->ctl);
    if (owner && pg_ready(owner) == ERR_OK) {
        say(finding, WELL, NULL, owner == doctor->ctl->pg ? "it is the pools' role" : "it can connect");
    } else {
        say(finding, FAULT, "Mend migration_url; migrations, retention and backups need it.",
            "it cannot connect; see the line above");
    }
}

static void check_mail(struct doctor *doctor, struct finding *finding)
{
    int64_t oldest_s;
    if (!ask(doctor->ctl, &WAITING, &oldest_s)) {
        database_failed(finding);
        return;
    }
    if (!oldest_s) {
        say(finding, WELL, NULL, "none waits");
        return;
    }
    bool late = oldest_s > MAIL_WAITS_S;
    say(finding, late ? WARNING : WELL,
        late ? "Set smtp_url and let tallygate-jobd run, or see mail in tallygatectl(8)." : NULL,
        "the oldest one waits for %" PRId64 " s", oldest_s);
}

static void check_redis(struct doctor *doctor, struct finding *finding)
{
    const struct config *config = doctor->ctl->config;
    const char *reason;
    if (!*config->redis_url) {
        say(finding, WELL, NULL, "none is set; each process counts its limits alone");
        return;
    }
    if (!redis_url_valid(config->redis_url, &reason)) {
        say(finding, FAULT, "Mend redis_url; see tallygate.conf(5).", "redis_url: %s", reason);
        return;
    }
    struct redis *redis = redis_new(config->redis_url, config->redis_timeout_ms);
    bool answers = redis_ping(redis) == ERR_OK;
    redis_free(redis);
    say(finding, answers ? WELL : WARNING,
        answers ? NULL
                : "Is Redis running (systemctl status redis-server)? All works without it, only slower.",
        answers ? "it answers" : "it does not answer");
}

static bool connects(const char *directory, const char *pool)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s.sock", directory, pool);
    bool connected = fd >= 0 && length > 0 && (size_t)length < sizeof(address.sun_path) &&
                     connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return connected;
}

static void check_pools(struct doctor *doctor, struct finding *finding)
{
    static const char *const POOLS[] = {"auth", "ingest", "api"};
    char missing[64] = "";
    for (size_t i = 0; i < ARRAY_SIZE(POOLS); i++) {
        if (!connects(doctor->sockets, POOLS[i])) {
            size_t length = strlen(missing);
            snprintf(missing + length, sizeof(missing) - length, " %s", POOLS[i]);
        }
    }
    if (*missing) {
        say(finding, FAULT,
            "Start them (systemctl start tallygate.target), and see journalctl -u 'tallygate-fcgi@*'.",
            "in %s nobody takes requests for%s", doctor->sockets, missing);
    } else {
        say(finding, WELL, NULL, "all three take requests in %s", doctor->sockets);
    }
}

static void check_certificate(struct doctor *doctor, struct finding *finding)
{
    FILE *file = fopen(doctor->certificate, "re");
    if (!file) {
        say(finding, WARNING, "Put nginx's certificate there, or name it with --certificate.", "%s: %s",
            doctor->certificate, strerror(errno));
        return;
    }
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    int days = 0, seconds = 0;
    fclose(file);
    if (!certificate || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(certificate)) != 1) {
        say(finding, FAULT, "Put a certificate in PEM there.", "%s is none", doctor->certificate);
    } else {
        bool over = days < 0 || seconds < 0;
        say(finding,
            over                           ? FAULT
            : days < CERTIFICATE_WARN_DAYS ? WARNING
                                           : WELL,
            over || days < CERTIFICATE_WARN_DAYS ? "Renew it, and reload nginx." : NULL,
            over ? "%s ended %d days ago" : "%s is good for %d days", doctor->certificate,
            over ? -days : days);
    }
    X509_free(certificate);
}

static void check_disk(struct doctor *doctor, struct finding *finding)
{
    static const char *const PLACES[] = {"/var/lib/postgresql", "/var", "/"};
    struct statvfs disk;
    (void)doctor;
    for (size_t i = 0; i < ARRAY_SIZE(PLACES); i++) {
        if (statvfs(PLACES[i], &disk) != 0 || disk.f_blocks == 0) {
            continue;
        }
        int free = (int)(disk.f_bavail * 100 / disk.f_blocks);
        enum verdict verdict = free < DISK_FAULT_PERCENT ? FAULT : free < DISK_WARN_PERCENT ? WARNING : WELL;
        say(finding, verdict, verdict ? "Make room before PostgreSQL stops." : NULL,
            "%d %% of the disk with %s are free", free, PLACES[i]);
        return;
    }
    say(finding, WARNING, "See df.", "how full it is cannot be told");
}

/* ---- all of them ---- */

enum needs { NEEDS_NOTHING, NEEDS_DATABASE, NEEDS_SCHEMA };

static const struct check {
    const char *name;
    enum needs needs;
    void (*run)(struct doctor *doctor, struct finding *finding);
} CHECKS[] = {
    {"secret", NEEDS_NOTHING, check_secret},
    {"database", NEEDS_NOTHING, check_database},
    {"schema", NEEDS_DATABASE, check_schema},
    {"role", NEEDS_DATABASE, check_role},
    {"owner", NEEDS_DATABASE, check_owner},
    {"clock", NEEDS_DATABASE, check_clock},
    {"keys", NEEDS_SCHEMA, check_keys},
    {"partitions", NEEDS_SCHEMA, check_events},
    {"mail", NEEDS_SCHEMA, check_mail},
    {"backup", NEEDS_NOTHING, check_backup},
    {"redis", NEEDS_NOTHING, check_redis},
    {"pools", NEEDS_NOTHING, check_pools},
    {"certificate", NEEDS_NOTHING, check_certificate},
    {"disk", NEEDS_NOTHING, check_disk},
};

static int examine(struct doctor *doctor)
{
    static const char *const WORDS[] = {"ok", "warning", "fault"};
    JSON_AUTO all = json_object_new_object();
    struct json_object *items = json_object_new_array();
    bool faults = false;
    json_add(all, "items", items);
    for (size_t i = 0; i < ARRAY_SIZE(CHECKS); i++) {
        struct finding finding = {.verdict = WELL};
        if ((CHECKS[i].needs >= NEEDS_DATABASE && !doctor->has_database) ||
            (CHECKS[i].needs >= NEEDS_SCHEMA && !doctor->has_schema)) {
            continue;
        }
        CHECKS[i].run(doctor, &finding);
        faults = faults || finding.verdict == FAULT;
        struct json_object *item = json_object_new_object();
        json_add_string(item, "check", CHECKS[i].name);
        json_add_string(item, "state", WORDS[finding.verdict]);
        json_add_string(item, "found", finding.text);
        json_add_string(item, "advice", finding.advice);
        json_object_array_add(items, item);
        if (!doctor->ctl->json) {
            printf("%-8s %-12s %s\n", WORDS[finding.verdict], CHECKS[i].name, finding.text);
            if (finding.advice) {
                printf("%-21s %s\n", "", finding.advice);
            }
        }
    }
    if (doctor->ctl->json) {
        ctl_print(doctor->ctl, all, NULL);
    }
    return faults ? CTL_FAILED : CTL_OK;
}

int ctl_doctor(struct ctl *ctl, int argc, char **argv)
{
    enum { CERTIFICATE, SOCKETS, COUNT };
    static const struct option OPTIONS[] = {{"certificate", required_argument, NULL, CERTIFICATE},
                                            {"sockets", required_argument, NULL, SOCKETS},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    if (first != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    struct doctor doctor = {.ctl = ctl,
                            .sockets = texts[SOCKETS] ? texts[SOCKETS] : TALLYGATE_RUNDIR,
                            .certificate =
                                texts[CERTIFICATE] ? texts[CERTIFICATE] : TALLYGATE_CONFDIR "/tls/cert.pem"};
    return examine(&doctor);
}
