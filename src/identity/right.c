/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/right.h"

#include <string.h>

#include "base/cache.h"
#include "base/clock.h"
#include "identity/apikey.h"
#include "identity/revocations.h"
#include "identity/role.h"
#include "queries.h"

enum { REMEMBERED_MS = 30000 };
enum { WORKSPACE, USER, ROLE, MEMBERSHIP, SLUG, KEY, SCOPES, EXPIRES, PER_SECOND, BURST };

static const struct pg_statement OF_KEY = {"right_key", sql_right_key};
static const struct pg_statement OF_MEMBER = {
    "right_member",
    "SELECT w.id, m.user_id, m.role, m.grant_id, w.slug FROM memberships m JOIN workspaces w ON w.id = m.workspace_id "
    "AND w.closed_at IS NULL WHERE m.user_id = $1 AND (w.id = $2::bigint OR w.slug = $3)"};

/* A fixed form, so that a right can be kept as bytes. */
struct name {
    char kind;
    uint8_t digest[CRYPTO_SHA256_SIZE];
};

static unsigned scopes_may(const char *scopes)
{
    unsigned may = 0;
    char word[32];
    while (*scopes) {
        size_t length = strcspn(scopes, " ");
        if (length < sizeof(word)) {
            memcpy(word, scopes, length);
            word[length] = '\0';
            may |= scope_may(word);
        }
        scopes += length;
        scopes += strspn(scopes, " ");
    }
    return may;
}

static bool read_right(const PGresult *row, bool of_key, struct right *ret_right)
{
    struct right right = {.workspace_id = pg_get_int(row, 0, WORKSPACE),
                          .user_id = pg_get_int(row, 0, USER),
                          .may = role_may(pg_get_text(row, 0, ROLE))};
    const char *slug = pg_get_text(row, 0, SLUG);
    if (!uuid_parse(pg_get_text(row, 0, MEMBERSHIP), right.membership_id) ||
        (of_key && !uuid_parse(pg_get_text(row, 0, KEY), right.key_id))) {
        return false;
    }
    if (slug) {
        memcpy(right.slug, slug, strnlen(slug, RIGHT_SLUG_SIZE - 1));
    }
    if (of_key) {
        right.may &= scopes_may(pg_get_text(row, 0, SCOPES));
        right.expires_s = pg_get_int(row, 0, EXPIRES);
        right.per_second = pg_get_int(row, 0, PER_SECOND);
        right.burst = pg_get_int(row, 0, BURST);
    }
    *ret_right = right;
    return true;
}

static bool recall(const struct services *services, const struct name *name, struct right *ret_right)
{
    struct buf kept;
    buf_init(&kept, sizeof(*ret_right));
    bool found = cache_get(services->rights, (const char *)name, sizeof(*name), &kept) &&
                 kept.length == sizeof(*ret_right);
    if (found) {
        memcpy(ret_right, kept.data, sizeof(*ret_right));
    }
    buf_free(&kept);
    return found;
}

/* What is asked for. */
struct question {
    struct name name;
    const struct pg_statement *statement;
    struct pg_params params;
    const char *key; /* NULL: it is about a member */
};

/* Ask the database, and remember what it says. */
static enum err look_up(const struct services *services, const struct question *question,
                        struct right *ret_right)
{
    PG_RESULT_AUTO row = NULL;
    int64_t asked_us = clock_monotonic_us();
    if (question->key && !apikey_is_ours(services->config, question->key)) {
        return ERR_NOT_FOUND; /* nobody makes us ask for what we never made */
    }
    enum err e = pg_query(services->pg, question->statement, &question->params, &row);
    if (e) {
        return e;
    }
    if (PQntuples(row) == 0) {
        return ERR_NOT_FOUND;
    }
    if (!read_right(row, question->key, ret_right)) {
        return ERR_INTERNAL;
    }
    cache_put(services->rights, (const char *)&question->name, sizeof(question->name),
              (const char *)ret_right, sizeof(*ret_right),
              REMEMBERED_MS - (clock_monotonic_us() - asked_us) / 1000);
    return ERR_OK;
}

/* Remembered or looked up. One that was revoked since is looked up anew: a role may have changed. */
static enum err find(const struct services *services, const struct question *question, bool fresh,
                     struct right *ret_right)
{
    struct right right;
    bool recalled = !fresh && recall(services, &question->name, &right);
    enum err e = recalled ? ERR_OK : look_up(services, question, &right);
    e = e ? e : revocations_check(services->revocations, right.key_id, right.membership_id);
    if (e == ERR_UNAUTHENTICATED && recalled) {
        e = look_up(services, question, &right);
        e = e ? e : revocations_check(services->revocations, right.key_id, right.membership_id);
    }
    if (e) {
        return e == ERR_UNAUTHENTICATED ? ERR_NOT_FOUND : e;
    }
    if (right.expires_s && clock_now_us() / USEC_PER_SEC >= right.expires_s) {
        return ERR_NOT_FOUND;
    }
    *ret_right = right;
    return ERR_OK;
}

enum err right_of_key(struct request *request, const char *key, struct right *ret_right)
{
    struct question question = {.name.kind = 'k', .statement = &OF_KEY, .key = key};
    crypto_sha256(key, strlen(key), question.name.digest);
    pg_bytes(&question.params, question.name.digest, sizeof(question.name.digest));
    return find(request->services, &question, false, ret_right);
}

enum err right_of_member(struct request *request, int64_t user_id, const char *workspace, bool fresh,
                         struct right *ret_right)
{
    enum { DIGITS_MAX = 18 };
    struct question question = {.name.kind = 'm', .statement = &OF_MEMBER};
    size_t length = strlen(workspace);
    bool number = length > 0 && length <= DIGITS_MAX && strspn(workspace, "0123456789") == length;
    if (length == 0 || length >= RIGHT_SLUG_SIZE ||
        strspn(workspace, "abcdefghijklmnopqrstuvwxyz0123456789-") != length) {
        return ERR_NOT_FOUND;
    }
    const char *text = arena_printf(request->arena, "%lld %s", (long long)user_id, workspace);
    crypto_sha256(text, strlen(text), question.name.digest);
    pg_int(&question.params, user_id);
    pg_text(&question.params, number ? workspace : NULL);
    pg_text(&question.params, number ? NULL : workspace);
    return find(request->services, &question, fresh, ret_right);
}
