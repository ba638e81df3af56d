/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/totp.h"

#include <ctype.h>
#include <liboath/oath.h>
#include <qrencode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"

static const char PURPOSE_KEY[] = "tallygate totp keys v1";
static const char PURPOSE_RECOVERY[] = "tallygate recovery codes v1";

enum {
    SEALED_SIZE = TOTP_KEY_SIZE + CRYPTO_SEAL_OVERHEAD,
    LABEL_SIZE = 32,
    WINDOW = 1,
    RECOVERY_LENGTH = 10,
    SVG_MAX = 128 * 1024,
    SVG_MARGIN = 4, /* modules, as ISO/IEC 18004 asks for */
};

static const struct pg_statement BEGIN = {
    "totp_begin",
    "INSERT INTO totp AS t (user_id, sealed) VALUES ($1, $2::bytea) ON CONFLICT (user_id) DO UPDATE "
    "SET sealed = excluded.sealed, created_at = now(), last_step = 0, failures = 0 WHERE t.confirmed_at IS NULL "
    "RETURNING (SELECT email FROM users u WHERE u.id = t.user_id)"};
static const struct pg_statement LOAD = {
    "totp_load",
    "SELECT encode(sealed, 'hex'), last_step, ceil(extract(epoch FROM wait_until - now()))::bigint, "
    "confirmed_at IS NOT NULL FROM totp WHERE user_id = $1 FOR UPDATE"};
static const struct pg_statement RIGHT = {
    "totp_right",
    "UPDATE totp SET last_step = greatest(last_step, $2::bigint), failures = 0, wait_until = NULL, "
    "confirmed_at = coalesce(confirmed_at, now()) WHERE user_id = $1"};
static const struct pg_statement WRONG = {
    "totp_wrong", "UPDATE totp SET failures = (failures + 1) % 5, wait_until = CASE WHEN failures + 1 >= 5 "
                  "THEN now() + interval '5 minutes' ELSE wait_until END WHERE user_id = $1"};
static const struct pg_statement RECOVER = {
    "totp_recover", "DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2::bytea RETURNING 1"};
static const struct pg_statement FORGET = {"totp_forget", "DELETE FROM recovery_codes WHERE user_id = $1"};
static const struct pg_statement KEEP = {"totp_keep",
                                         "INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2::bytea)"};

enum { COLUMN_SEALED, COLUMN_LAST_STEP, COLUMN_WAIT, COLUMN_CONFIRMED };

static void make_label(int64_t user_id, char ret_label[LABEL_SIZE])
{
    snprintf(ret_label, LABEL_SIZE, "totp:%lld", (long long)user_id);
}

/* ---- keys ---- */

enum err totp_begin(const struct config *config, struct pg *pg, int64_t user_id, struct arena *arena,
                    const char **ret_secret, const char **ret_email)
{
    uint8_t key[TOTP_KEY_SIZE], seal_key[CRYPTO_KEY_SIZE], sealed[SEALED_SIZE];
    char label[LABEL_SIZE];
    char *base32 = NULL;
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;

    crypto_random(key, sizeof(key));
    make_label(user_id, label);
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE_KEY, seal_key) &&
                crypto_seal(seal_key, label, key, sizeof(key), sealed) &&
                oath_base32_encode((const char *)key, sizeof(key), &base32, NULL) == OATH_OK;
    crypto_wipe(seal_key, sizeof(seal_key));
    crypto_wipe(key, sizeof(key));
    pg_int(&params, user_id);
    pg_bytes(&params, sealed, sizeof(sealed));
    enum err e = made ? pg_query(pg, &BEGIN, &params, &result) : ERR_INTERNAL;
    if (!e && PQntuples(result) == 0) {
        e = ERR_CONFLICT;
    }
    if (!e) {
        *ret_secret = arena_strdup(arena, base32);
        *ret_email = arena_strdup(arena, pg_get_text(result, 0, 0));
    }
    free(base32);
    return e;
}

/* The time step whose code this is, from after `last_step` on; 0 when there is none. */
static uint64_t find_step(const uint8_t key[TOTP_KEY_SIZE], const char *code, int64_t last_step)
{
    uint64_t step = 0;
    int found = oath_totp_validate3((const char *)key, TOTP_KEY_SIZE, (time_t)(clock_now_us() / USEC_PER_SEC),
                                    TOTP_STEP_S, 0, WINDOW, NULL, &step, code);
    return found >= 0 && step > (uint64_t)last_step ? step : 0;
}

static enum err check_code(const struct config *config, int64_t user_id, const PGresult *row,
                           const char *code, uint64_t *ret_step)
{
    uint8_t key[TOTP_KEY_SIZE], seal_key[CRYPTO_KEY_SIZE], sealed[SEALED_SIZE];
    char label[LABEL_SIZE];
    make_label(user_id, label);
    bool opened = crypto_unhex(pg_get_text(row, 0, COLUMN_SEALED), sealed, sizeof(sealed)) &&
                  crypto_derive(config->secret, config->secret_length, PURPOSE_KEY, seal_key) &&
                  crypto_open(seal_key, label, sealed, sizeof(sealed), key);
    if (opened) {
        *ret_step = find_step(key, code, pg_get_int(row, 0, COLUMN_LAST_STEP));
    }
    crypto_wipe(seal_key, sizeof(seal_key));
    crypto_wipe(key, sizeof(key));
    return opened ? ERR_OK : ERR_INTERNAL;
}

/* ---- recovery codes ---- */

static bool hash_recovery(const struct config *config, int64_t user_id, const char *code,
                          uint8_t ret_hash[CRYPTO_SHA256_SIZE])
{
    uint8_t key[CRYPTO_KEY_SIZE];
    char text[LABEL_SIZE + RECOVERY_LENGTH + 2];
    char label[LABEL_SIZE];
    make_label(user_id, label);
    int length = snprintf(text, sizeof(text), "%s:%s", label, code);
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE_RECOVERY, key) &&
                crypto_hmac_sha256(key, text, (size_t)length, ret_hash);
    crypto_wipe(key, sizeof(key));
    return made;
}

enum err totp_make_recovery(const struct config *config, struct pg *pg, int64_t user_id,
                            char ret_codes[TOTP_RECOVERY_CODES][TOTP_RECOVERY_SIZE])
{
    static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; /* base32, RFC 4648 section 6 */
    struct pg_params user = {0};
    pg_int(&user, user_id);
    enum err e = pg_query(pg, &FORGET, &user, NULL);
    for (size_t i = 0; !e && i < TOTP_RECOVERY_CODES; i++) {
        uint8_t bytes[RECOVERY_LENGTH], hash[CRYPTO_SHA256_SIZE];
        char code[RECOVERY_LENGTH + 1] = "";
        struct pg_params params = {0};
        crypto_random(bytes, sizeof(bytes));
        for (size_t k = 0; k < RECOVERY_LENGTH; k++) {
            code[k] = ALPHABET[bytes[k] % 32];
        }
        snprintf(ret_codes[i], TOTP_RECOVERY_SIZE, "%.5s-%.5s", code, code + 5);
        pg_int(&params, user_id);
        pg_bytes(&params, hash, sizeof(hash));
        e = hash_recovery(config, user_id, code, hash) ? pg_query(pg, &KEEP, &params, NULL) : ERR_INTERNAL;
    }
    return e;
}

static enum err use_recovery(const struct config *config, struct pg *pg, int64_t user_id, const char *code,
                             bool *ret_right)
{
    uint8_t hash[CRYPTO_SHA256_SIZE];
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    pg_int(&params, user_id);
    pg_bytes(&params, hash, sizeof(hash));
    if (!hash_recovery(config, user_id, code, hash)) {
        return ERR_INTERNAL;
    }
    enum err e = pg_query(pg, &RECOVER, &params, &result);
    *ret_right = !e && PQntuples(result) > 0;
    return e;
}

/* ---- using ---- */

/* Without blanks and dashes, in upper case. False when it is too long for any code. */
static bool normalise(const char *code, char ret_code[RECOVERY_LENGTH + 1])
{
    size_t length = 0;
    for (; *code; code++) {
        if (*code == ' ' || *code == '-') {
            continue;
        }
        if (length == RECOVERY_LENGTH) {
            return false;
        }
        ret_code[length++] = (char)toupper((unsigned char)*code);
    }
    ret_code[length] = '\0';
    return true;
}

enum err totp_use(const struct config *config, struct pg *pg, int64_t user_id, const char *code, bool begins,
                  enum totp_verdict *ret_verdict, int64_t *ret_wait_s)
{
    char plain[RECOVERY_LENGTH + 1];
    struct pg_params user = {0}, params = {0};
    PG_RESULT_AUTO row = NULL;
    uint64_t step = 0;
    bool right = false;

    pg_int(&user, user_id);
    enum err e = pg_query(pg, &LOAD, &user, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) == 0 || pg_get_bool(row, 0, COLUMN_CONFIRMED) == begins) {
        *ret_verdict = TOTP_NONE;
        return ERR_OK;
    }
    *ret_wait_s = pg_get_int(row, 0, COLUMN_WAIT);
    if (*ret_wait_s > 0) {
        *ret_verdict = TOTP_WAIT;
        return ERR_OK;
    }
    bool readable = normalise(code, plain);
    if (readable && strlen(plain) == TOTP_DIGITS && strspn(plain, "0123456789") == TOTP_DIGITS) {
        e = check_code(config, user_id, row, plain, &step);
        right = step > 0;
    } else if (readable && !begins) {
        e = use_recovery(config, pg, user_id, plain, &right);
    }
    *ret_verdict = step > 0 ? TOTP_RIGHT : right ? TOTP_RECOVERED : TOTP_WRONG;
    pg_int(&params, user_id);
    if (right) {
        pg_int(&params, (int64_t)step);
    }
    return e ? e : pg_query(pg, right ? &RIGHT : &WRONG, &params, NULL);
}

/* ---- what apps read ---- */

static const char *percent_encode(struct arena *arena, const char *text)
{
    static const char PLAIN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    char *encoded = arena_alloc(arena, 3 * strlen(text) + 1);
    char *end = encoded;
    for (; *text; text++) {
        end += strchr(PLAIN, *text) ? snprintf(end, 2, "%c", *text)
                                    : snprintf(end, 4, "%%%02X", (unsigned char)*text);
    }
    *end = '\0';
    return encoded;
}

const char *totp_uri(struct arena *arena, const char *issuer, const char *email, const char *secret)
{
    const char *host = strstr(issuer, "://");
    host = host ? host + 3 : issuer;
    host = percent_encode(arena, arena_strndup(arena, host, strcspn(host, "/")));
    return arena_printf(arena, "otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=%d&period=%d",
                        host, percent_encode(arena, email), secret, host, TOTP_DIGITS, TOTP_STEP_S);
}

const char *totp_qr_svg(struct arena *arena, const char *text)
{
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    struct buf svg;
    if (!code) {
        return NULL;
    }
    int side = code->width + 2 * SVG_MARGIN;
    buf_init(&svg, SVG_MAX);
    buf_printf(
        &svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" shape-rendering=\"crispEdges\">"
        "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
        side, side, side, side);
    for (int y = 0; y < code->width; y++) {
        for (int x = 0; x < code->width; x++) {
            if (code->data[y * code->width + x] & 1) {
                buf_printf(&svg, "M%d %dh1v1h-1z", x + SVG_MARGIN, y + SVG_MARGIN);
            }
        }
    }
    buf_puts(&svg, "\"/></svg>");
    const char *kept = svg.overflow ? NULL : arena_strndup(arena, svg.data, svg.length);
    buf_free(&svg);
    QRcode_free(code);
    return kept;
}
