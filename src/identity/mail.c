/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "identity/smtp.h"

static const char PREFIX[] = "tgm_";
static const char PURPOSE[] = "tallygate outbox v1";

enum {
    SECRET_BYTES = 32,
    TOKEN_LENGTH = MAIL_TOKEN_SIZE - 1,
    BATCH = 50,
    TEXT_MAX = 64 * 1024,
    COLUMN_ID = 0,
    COLUMN_TO,
    COLUMN_TEMPLATE,
    COLUMN_SEALED,
    COLUMN_CREATED,
    COLUMN_ABOUT,
    COLUMN_ATTEMPTS
};

static const struct pg_statement WAITING = {
    "mail_waiting",
    "SELECT id, payload->>'to', payload->>'template', encode(sealed, 'hex'), " PG_US(
        "created_at") ", payload->>'about' FROM outbox WHERE topic = 'mail' AND done_at IS NULL AND failed_at IS NULL AND (next_at IS NULL OR next_at <= now()) AND id > $1::uuid ORDER BY id LIMIT 50 "
                      "FOR UPDATE SKIP LOCKED"};
static const struct pg_statement NOTICE = {
    "mail_notice",
    "INSERT INTO outbox (id, topic, payload) SELECT $1::uuid, 'mail', "
    "jsonb_strip_nulls(jsonb_build_object('to', coalesce($3, email::text), 'template', $4::text, 'about', $5::text)) "
    "FROM users WHERE id = $2"};
static const struct pg_statement DONE = {"mail_done",
                                         "UPDATE outbox SET done_at = now() WHERE id = $1::uuid"};
#define DUE \
    "topic = 'mail' AND done_at IS NULL AND failed_at IS NULL AND (next_at IS NULL OR next_at <= now())"
static const struct pg_statement IS_DUE = {"mail_is_due", "SELECT EXISTS (SELECT FROM outbox WHERE " DUE ")"};
/* For longer than an attempt may take, nobody else has it. */
static const struct pg_statement CLAIM = {
    "mail_claim",
    "UPDATE outbox SET attempts = attempts + 1, next_at = now() + interval '10 minutes' WHERE id = "
    "(SELECT id FROM outbox WHERE " DUE " ORDER BY next_at NULLS FIRST, id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    "RETURNING id, payload->>'to', payload->>'template', encode(sealed, 'hex'), " PG_US(
        "created_at") ", payload->>'about', attempts"};
static const struct pg_statement LATER = {
    "mail_later", "UPDATE outbox SET next_at = now() + $2::bigint * interval '1 s', error = $3, "
                  "failed_at = CASE WHEN $4::boolean THEN now() END WHERE id = $1::uuid AND done_at IS NULL"};
static const struct pg_statement BOUNCED = {
    "mail_bounced",
    "UPDATE users SET email_bounced_at = now(), email_bounce = $2 WHERE email = $1 AND email_bounced_at IS NULL"};
static const struct pg_statement PRUNE_OUTBOX = {
    "mail_prune_outbox",
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE done_at < now() - interval '7 days' OR failed_at < now() - interval '7 days' "
    "LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};
static const struct pg_statement PRUNE_TOKENS = {
    "mail_prune_tokens",
    "DELETE FROM mail_tokens WHERE hash IN (SELECT hash FROM mail_tokens WHERE expires_at < now() "
    "- interval '1 day' LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};

/* ---- tokens ---- */

enum err mail_token_make(const struct config *config, struct mail_token *ret_token)
{
    uint8_t id[16], bytes[SECRET_BYTES], key[CRYPTO_KEY_SIZE];
    char text[MAIL_TOKEN_SIZE];

    uuid_v7(id);
    uuid_format(id, ret_token->outbox_id);
    crypto_random(bytes, sizeof(bytes));
    memcpy(text, PREFIX, sizeof(PREFIX) - 1);
    crypto_base64url(bytes, sizeof(bytes), text + sizeof(PREFIX) - 1);
    crypto_sha256(text, TOKEN_LENGTH, ret_token->hash);
    bool made =
        crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
        crypto_seal(key, ret_token->outbox_id, (const uint8_t *)text, sizeof(text), ret_token->sealed);
    crypto_wipe(key, sizeof(key));
    crypto_wipe(text, sizeof(text));
    crypto_wipe(bytes, sizeof(bytes));
    return made ? ERR_OK : ERR_INTERNAL;
}

void mail_token_params(const struct mail_token *token, struct pg_params *params)
{
    pg_text(params, token->outbox_id);
    pg_bytes(params, token->hash, sizeof(token->hash));
    pg_bytes(params, token->sealed, sizeof(token->sealed));
}

bool mail_token_hash(const char *text, size_t length, uint8_t ret_hash[CRYPTO_SHA256_SIZE])
{
    if (length != TOKEN_LENGTH || strncmp(text, PREFIX, sizeof(PREFIX) - 1) != 0) {
        return false;
    }
    crypto_sha256(text, length, ret_hash);
    return true;
}

enum err mail_notice(struct pg *pg, int64_t user_id, const char *to, const char *template)
{
    return mail_notice_about(pg, user_id, to, template, NULL);
}

enum err mail_notice_about(struct pg *pg, int64_t user_id, const char *to, const char *template,
                           const char *about)
{
    uint8_t id[16];
    char text[UUID_TEXT_SIZE];
    struct pg_params params = {0};
    uuid_v7(id);
    uuid_format(id, text);
    pg_text(&params, text);
    pg_int(&params, user_id);
    pg_text(&params, to);
    pg_text(&params, template);
    pg_text(&params, about);
    return pg_query(pg, &NOTICE, &params, NULL);
}

/* ---- texts ---- */

/* `page` is where a link in the mail leads to; NULL: there is no token in it. */
static const struct template
{
    const char *name;
    const char *subject;
    const char *page;
    const char *words;
}
TEMPLATES[] = {
    {"verify", "Confirm your address", "verify-address",
     "Please confirm that this is your address. The link is good for three days."},
    {"reset", "Set a new password", "reset-password",
     "Somebody, perhaps you, asked to set a new password for the account of this address. The link is good for an hour "
     "and for one use.\nIf it was not you, there is nothing to do: the password stays as it is."},
    {"change", "Confirm your new address", "confirm-address",
     "Please confirm that this is to be the address of your account. The link is good for a day."},
    {"invite", "You are invited to a workspace", "accept-invitation",
     "Somebody invites you to share a workspace. The link is good for seven days, and for the account of this address; make "
     "one first if there is none."},
    {"changed", "Your address was changed", NULL,
     "The address of your account is another one now, and this one is no longer used. If it was not you who did this, tell "
     "whoever runs the service."},
    {"change_asked", "A new address was asked for", NULL,
     "Somebody who knows your password, perhaps you, asked to make another address that of your account. It counts once it is "
     "confirmed from there. If it was not you, set a new password now: that voids it."},
    {"password", "Your password was changed", NULL,
     "The password of your account was changed, and other sessions have ended. If it was not you who did this, ask for a new "
     "password now, and tell whoever runs the service."},
    {"mfa_on", "A second factor was switched on", NULL,
     "To log in, your account now asks for a code besides the password. If it was not you who did this, tell whoever runs the "
     "service."},
    {"mfa_off", "The second factor was switched off", NULL,
     "To log in, your account asks for the password only. If it was not you who did this, set a new password now."},
    {"mfa_codes", "New recovery codes were made", NULL,
     "Your account has new recovery codes, and those of before are good for nothing. If it was not you who did this, set a new "
     "password now."},
    {"mfa_recovered", "A recovery code was used", NULL,
     "Somebody logged in with your password and a recovery code. If it was not you, set a new password now, and make new "
     "recovery codes."},
    {"webhook_disabled", "A webhook was disabled", NULL,
     "A webhook that you made was disabled: it said that it is gone, or none of its deliveries succeeded for five days. Events "
     "are no longer sent there. Enable it again when it is well; what was not delivered can be sent again."},
};

static const struct template *find_template(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_SIZE(TEMPLATES); i++) {
        if (strcmp(TEMPLATES[i].name, name) == 0) {
            return &TEMPLATES[i];
        }
    }
    return NULL;
}

static bool open_token(const struct config *config, const char *id, const char *hex,
                       char ret_text[MAIL_TOKEN_SIZE])
{
    uint8_t sealed[MAIL_SEALED_SIZE], key[CRYPTO_KEY_SIZE];
    bool opened = hex && crypto_unhex(hex, sealed, sizeof(sealed)) &&
                  crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
                  crypto_open(key, id, sealed, sizeof(sealed), (uint8_t *)ret_text);
    crypto_wipe(key, sizeof(key));
    return opened;
}

/* The day and month names of RFC 5322 are English, whatever the locale. */
static void put_date(struct buf *buf, int64_t us)
{
    static const char *const DAYS[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = us / USEC_PER_SEC;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    buf_printf(buf, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", DAYS[tm.tm_wday], tm.tm_mday,
               MONTHS[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

enum rendered {
    RENDERED,
    RENDERED_SEALED, /* with another master secret */
    RENDERED_NOTHING /* the row makes no mail, which was told */
};

static enum rendered render(const struct config *config, const PGresult *rows, int row, struct buf *buf)
{
    const char *id = pg_get_text(rows, row, COLUMN_ID);
    const struct template *template = find_template(pg_get_text(rows, row, COLUMN_TEMPLATE));
    char token[MAIL_TOKEN_SIZE];
    if (!template || !pg_get_text(rows, row, COLUMN_TO)) {
        log_error("mail %s is of no known kind", id);
        return RENDERED_NOTHING;
    }
    if (template->page && !open_token(config, id, pg_get_text(rows, row, COLUMN_SEALED), token)) {
        return RENDERED_SEALED;
    }
    buf_printf(buf, "From: %s\r\nTo: <%s>\r\nSubject: %s\r\n", config->mail_from,
               pg_get_text(rows, row, COLUMN_TO), template->subject);
    put_date(buf, pg_get_int(rows, row, COLUMN_CREATED));
    buf_printf(
        buf,
        "Message-ID: <%s@tallygate>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\nAuto-Submitted: auto-generated\r\n\r\n%s\r\n",
        id, template->words);
    if (pg_get_text(rows, row, COLUMN_ABOUT)) {
        buf_printf(buf, "\r\n%s\r\n", pg_get_text(rows, row, COLUMN_ABOUT));
    }
    if (template->page) {
        const char *pages = *config->app_url ? config->app_url : config->issuer;
        size_t length = strlen(pages);
        length -= length > 0 && pages[length - 1] == '/';
        buf_printf(buf, "\r\n%.*s/%s?token=%s\r\n", (int)length, pages, template->page, token);
        crypto_wipe(token, sizeof(token));
    }
    return RENDERED;
}

/* ---- the sink ---- */

/* Its name must be on the disk before the row says that it is done. */
static bool sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return synced;
}

/* Whole or not at all: whoever watches the directory sees no half mail. */
static bool write_file(const char *directory, const char *id, const struct buf *text)
{
    char path[4096], final[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/.%s.tmp", directory, id) >= sizeof(path) ||
        (size_t)snprintf(final, sizeof(final), "%s/%s.eml", directory, id) >= sizeof(final)) {
        return false;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return false;
    }
    bool written = write(fd, text->data, text->length) == (ssize_t)text->length && fsync(fd) == 0;
    written = close(fd) == 0 && written;
    return written && rename(path, final) == 0 && sync_directory(directory);
}

struct writing {
    const struct config *config;
    const char *directory;
    char after[UUID_TEXT_SIZE]; /* the last one of the batch before */
    int64_t looked_at;          /* of this one */
    struct mail_written written;
};

static enum err write_one(struct pg *pg, struct writing *writing, const PGresult *rows, int row,
                          struct buf *text)
{
    struct pg_params params = {0};
    const char *id = pg_get_text(rows, row, COLUMN_ID);
    buf_reset(text);
    enum rendered rendered = render(writing->config, rows, row, text);
    if (rendered == RENDERED_SEALED) {
        writing->written.sealed++;
        return ERR_OK;
    }
    if (rendered == RENDERED && !write_file(writing->directory, id, text)) {
        log_error("%s: mail %s cannot be written: %s", writing->directory, id, strerror(errno));
        return ERR_INTERNAL;
    }
    writing->written.count += rendered == RENDERED;
    pg_text(&params, id);
    return pg_query(pg, &DONE, &params, NULL);
}

static enum err write_batch(struct pg *pg, void *argument)
{
    struct writing *writing = argument;
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    struct buf text;
    pg_text(&params, writing->after);
    enum err e = pg_query(pg, &WAITING, &params, &rows);
    writing->looked_at = e ? 0 : PQntuples(rows);
    buf_init(&text, TEXT_MAX);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        e = write_one(pg, writing, rows, row, &text);
    }
    if (writing->looked_at) {
        memcpy(writing->after, pg_get_text(rows, PQntuples(rows) - 1, COLUMN_ID), UUID_TEXT_SIZE);
    }
    buf_free(&text);
    return e;
}

enum err mail_write(const struct config *config, struct pg *pg, const char *directory,
                    struct mail_written *ret_written)
{
    struct writing writing = {
        .config = config, .directory = directory, .after = "00000000-0000-0000-0000-000000000000"};
    enum err e;
    do {
        e = pg_transaction(pg, write_batch, &writing);
    } while (!e && writing.looked_at == BATCH);
    *ret_written = writing.written;
    return e;
}

/* ---- by SMTP ---- */

/* How long to wait after each attempt, in seconds; after the last one it is given up. Three days altogether.
 */
static const int64_t WAITS_S[] = {60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};

static enum err tell_later(struct pg *pg, const PGresult *rows, int row, bool refused, const char *error)
{
    int64_t attempts = pg_get_int(rows, row, COLUMN_ATTEMPTS);
    bool last = refused || attempts > (int64_t)ARRAY_SIZE(WAITS_S);
    struct pg_params params = {0};
    pg_text(&params, pg_get_text(rows, row, COLUMN_ID));
    pg_int(&params, last || attempts < 1 ? 0 : WAITS_S[attempts - 1]);
    pg_text(&params, error);
    pg_text(&params, last ? "t" : "f");
    return pg_query(pg, &LATER, &params, NULL);
}

static enum err send_one(const struct config *config, struct pg *pg, struct smtp *smtp, const PGresult *rows,
                         int row, struct buf *text, struct mail_sent *sent)
{
    char error[SMTP_ERROR_SIZE] = "it was sealed with another master secret";
    const char *id = pg_get_text(rows, row, COLUMN_ID), *to = pg_get_text(rows, row, COLUMN_TO);
    struct pg_params params = {0};
    buf_reset(text);
    enum rendered rendered = render(config, rows, row, text);
    enum smtp_fate fate = rendered == RENDERED          ? smtp_send(smtp, to, text, error)
                          : rendered == RENDERED_SEALED ? SMTP_LATER
                                                        : SMTP_SENT;
    if (text->data) {
        crypto_wipe(text->data, text->length); /* it may hold a token */
    }
    if (fate == SMTP_SENT) {
        sent->sent += rendered == RENDERED;
        pg_text(&params, id);
        return pg_query(pg, &DONE, &params, NULL);
    }
    bool refused = fate == SMTP_REFUSED;
    sent->refused += refused;
    sent->later += !refused;
    log_warn("mail %s is not sent: %s", id, error);
    enum err e = tell_later(pg, rows, row, refused, error);
    if (e || !refused) {
        return e;
    }
    pg_text(&params, to);
    pg_text(&params, error);
    return pg_query(pg, &BOUNCED, &params, NULL);
}

enum err mail_is_due(struct pg *pg, bool *ret_due)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(pg, &IS_DUE, NULL, &row);
    if (!e) {
        *ret_due = pg_get_bool(row, 0, 0);
    }
    return e;
}

enum err mail_send(const struct config *config, struct pg *pg, struct smtp *smtp, struct mail_sent *sent,
                   bool *ret_more)
{
    PG_RESULT_AUTO rows = NULL;
    struct buf text;
    enum err e = pg_query(pg, &CLAIM, NULL, &rows);
    buf_init(&text, TEXT_MAX);
    for (int row = 0; !e && row < PQntuples(rows); row++) {
        e = send_one(config, pg, smtp, rows, row, &text, sent);
    }
    if (!e) {
        *ret_more = PQntuples(rows) > 0;
    }
    buf_free(&text);
    return e;
}

enum err mail_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO outbox = NULL;
    PG_RESULT_AUTO tokens = NULL;
    enum err e = pg_query(pg, &PRUNE_OUTBOX, NULL, &outbox);
    e = e ? e : pg_query(pg, &PRUNE_TOKENS, NULL, &tokens);
    if (!e) {
        *ret_more = PQntuples(outbox) > 0 || PQntuples(tokens) > 0;
    }
    return e;
}
