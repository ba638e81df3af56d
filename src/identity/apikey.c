/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/apikey.h"

#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "http/challenge.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/role.h"

static const char PREFIX[] = APIKEY_PREFIX;
static const char PURPOSE[] = "tallygate api keys v1";

enum {
    RANDOM_BYTES = 32,
    TAG_BYTES = 4,
    BYTES = RANDOM_BYTES + TAG_BYTES,
    ENCODED = BYTES * 4 / 3,
    LENGTH = sizeof(PREFIX) - 1 + ENCODED,
    SHOWN = sizeof(PREFIX) - 1 + 6,
    SCOPES_MAX = 3,
    KEYS_MAX = 1000, /* of a workspace */
    NAME_MAX_CHARACTERS = 100,
};

static const struct pg_statement LIST = {
    "apikey_list",
    "SELECT id, name, prefix, array_to_json(scopes), user_id, " PG_US("created_at") ", " PG_US("expires_at") ", " PG_US(
        "last_used_at") ", per_second, burst FROM api_keys "
                        "WHERE workspace_id = $1 AND ($2::bigint = 0 OR user_id = $2::bigint) ORDER BY id DESC LIMIT 1000"};
static const struct pg_statement CREATE = {
    "apikey_create",
    "INSERT INTO api_keys (id, workspace_id, user_id, name, prefix, hash, scopes, expires_at, per_second, burst) "
    "SELECT $1::uuid, $2, $3, $4, $5, $6::bytea, $7::text[], "
    "least(to_timestamp($8::bigint), (SELECT expires_at FROM api_keys WHERE id = $11::uuid)), $9::int, $10::int "
    "FROM users WHERE id = $3 AND is_active AND (SELECT count(*) FROM api_keys WHERE workspace_id = $2 "
    "AND coalesce(expires_at > now(), true)) < 1000 "
    "RETURNING id, jsonb_build_object('workspace_id', workspace_id, 'name', name, 'scopes', scopes, 'expires_at', expires_at), " PG_US(
        "created_at") ", " PG_US("expires_at")};
/* An expired one is shown for a month. */
static const struct pg_statement PRUNE = {
    "apikey_prune",
    "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys WHERE expires_at < now() - interval '30 days' "
    "LIMIT 1000 FOR UPDATE SKIP LOCKED) RETURNING 1"};
static const struct pg_statement DELETE = {
    "apikey_delete",
    "DELETE FROM api_keys WHERE workspace_id = $1 AND id = $2::uuid AND ($3::bigint = 0 OR user_id = $3::bigint) "
    "RETURNING id, jsonb_build_object('workspace_id', workspace_id, 'name', name, 'user_id', user_id)"};

/* ---- the text ---- */

static bool make_tag(const struct config *config, const uint8_t random[RANDOM_BYTES],
                     uint8_t ret_tag[TAG_BYTES])
{
    uint8_t key[CRYPTO_KEY_SIZE], mac[CRYPTO_SHA256_SIZE];
    bool made = crypto_derive(config->secret, config->secret_length, PURPOSE, key) &&
                crypto_hmac_sha256(key, random, RANDOM_BYTES, mac);
    crypto_wipe(key, sizeof(key));
    memcpy(ret_tag, mac, TAG_BYTES);
    return made;
}

bool apikey_is_ours(const struct config *config, const char *text)
{
    uint8_t bytes[BYTES], tag[TAG_BYTES];
    size_t length;
    return strlen(text) == LENGTH && strncmp(text, PREFIX, sizeof(PREFIX) - 1) == 0 &&
           crypto_base64url_decode(text + sizeof(PREFIX) - 1, ENCODED, bytes, &length) && length == BYTES &&
           make_tag(config, bytes, tag) && CRYPTO_memcmp(tag, bytes + RANDOM_BYTES, TAG_BYTES) == 0;
}

static bool draw(const struct config *config, char ret_text[LENGTH + 1])
{
    uint8_t bytes[BYTES];
    crypto_random(bytes, RANDOM_BYTES);
    bool made = make_tag(config, bytes, bytes + RANDOM_BYTES);
    memcpy(ret_text, PREFIX, sizeof(PREFIX) - 1);
    crypto_base64url(bytes, BYTES, ret_text + sizeof(PREFIX) - 1);
    crypto_wipe(bytes, sizeof(bytes));
    return made;
}

/* ---- the list ---- */

/* Whose keys the caller sees: 0 for all. */
static int64_t whose(const struct request *request)
{
    return request->principal.may & MAY_MANAGE ? 0 : request->principal.user_id;
}

static void add_optional_time(struct json_object *item, const char *name, const PGresult *rows, int row,
                              int column)
{
    if (PQgetisnull(rows, row, column)) {
        json_add(item, name, NULL);
    } else {
        json_add_time(item, name, pg_get_int(rows, row, column));
    }
}

static void add_optional_int(struct json_object *item, const char *name, const PGresult *rows, int row,
                             int column)
{
    json_add(item, name,
             PQgetisnull(rows, row, column) ? NULL : json_object_new_int64(pg_get_int(rows, row, column)));
}

static struct json_object *describe(const PGresult *rows, int row)
{
    struct json_object *item = json_object_new_object();
    struct json_object *scopes = NULL;
    struct json_fault fault;
    const char *text = pg_get_text(rows, row, 3);
    (void)json_parse(text, strlen(text), &scopes, &fault);
    json_add_string(item, "id", pg_get_text(rows, row, 0));
    json_add_string(item, "name", pg_get_text(rows, row, 1));
    json_add_string(item, "prefix", pg_get_text(rows, row, 2));
    json_add(item, "scopes", scopes);
    json_add_int(item, "user_id", pg_get_int(rows, row, 4));
    json_add_time(item, "created_at", pg_get_int(rows, row, 5));
    add_optional_time(item, "expires_at", rows, row, 6);
    add_optional_time(item, "last_used_at", rows, row, 7);
    add_optional_int(item, "per_second", rows, row, 8);
    add_optional_int(item, "burst", rows, row, 9);
    return item;
}

enum err apikey_list(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, whose(request));
    enum err e = pg_query(request->services->pg, &LIST, &params, &rows);
    if (!e) {
        keyset_answer_all(response, rows, describe); /* a workspace has at most KEYS_MAX */
    }
    return e;
}

/* ---- making one ---- */

/* People make and delete their own. A key that only reads or records must not: whoever finds it could make
 * one that lasts, or delete those that others need. */
static enum err check_manager(struct request *request, struct response *response)
{
    return request->principal.kind != PRINCIPAL_KEY || (request->principal.may & MAY_MANAGE)
               ? ERR_OK
               : challenge_scope(request, response, "For this a key needs the scope admin.");
}

/* The scopes as an array of PostgreSQL's, and what they let a key do. */
static enum err read_scopes(struct request *request, struct json_object *list, const char **ret_array,
                            unsigned *ret_may)
{
    const char *array = "";
    *ret_may = 0;
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *entry = json_object_array_get_idx(list, i);
        const char *scope = json_object_is_type(entry, json_type_string) ? json_object_get_string(entry) : "";
        if (!scope_may(scope) || strlen(scope) != (size_t)json_object_get_string_len(entry)) {
            return problem_field(&request->problem, arena_printf(request->arena, "scopes[%zu]", i), "unknown",
                                 "must be events:write, analytics:read or admin");
        }
        *ret_may |= scope_may(scope);
        array = arena_printf(request->arena, "%s%s\"%s\"", array, i ? "," : "", scope);
    }
    *ret_array = arena_printf(request->arena, "{%s}", array);
    return ERR_OK;
}

enum { NAME, SCOPES, EXPIRES, PER_SECOND, BURST, FIELDS };

static enum err check_request(struct request *request, const struct value *values, const char **ret_scopes)
{
    unsigned may;
    enum err e = read_scopes(request, values[SCOPES].json, ret_scopes, &may);
    if (e) {
        return e;
    }
    if (may & ~request->principal.may) {
        return problem_say(&request->problem, ERR_FORBIDDEN, "A key can do no more than who makes it.");
    }
    if (values[EXPIRES].present && !values[EXPIRES].is_null && values[EXPIRES].integer <= clock_now_us()) {
        return problem_field(&request->problem, "expires_at", "out_of_range", "is over already");
    }
    return ERR_OK;
}

static const char *number_or_null(struct request *request, const struct value *value, int64_t divisor)
{
    return value->present && !value->is_null
               ? arena_printf(request->arena, "%lld", (long long)(value->integer / divisor))
               : NULL;
}

static void answer_key(struct response *response, const char *key, const struct value *values,
                       const PGresult *created)
{
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "id", pg_get_text(created, 0, 0));
    json_add_string(answer, "key", key);
    json_add_string(answer, "name", values[NAME].text);
    json_add(answer, "scopes", json_object_get(values[SCOPES].json));
    json_add_time(answer, "created_at", pg_get_int(created, 0, 2));
    add_optional_time(answer, "expires_at", created, 0, 3);
    response_json(response, 201, answer);
}

enum err apikey_create(struct request *request, struct response *response)
{
    static const struct field TABLE[FIELDS] = {
        {"name", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, NAME_MAX_CHARACTERS, NULL},
        {"scopes", FIELD_ARRAY, FIELD_REQUIRED, 1, SCOPES_MAX, NULL},
        {"expires_at", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
        {"per_second", FIELD_INTEGER, FIELD_NULLABLE, 1, 1000000, NULL},
        {"burst", FIELD_INTEGER, FIELD_NULLABLE, 1, 1000000, NULL},
    };
    const struct services *services = request->services;
    struct value values[FIELDS];
    uint8_t id[16], hash[CRYPTO_SHA256_SIZE];
    char id_text[UUID_TEXT_SIZE], parent[UUID_TEXT_SIZE], key[LENGTH + 1];
    const char *scopes = NULL;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO created = NULL;

    enum err e = check_manager(request, response);
    e = e ? e : validate_body(request, TABLE, FIELDS, &body, values);
    e = e ? e : check_request(request, values, &scopes);
    if (e) {
        return e;
    }
    if (!draw(services->config, key)) {
        return ERR_INTERNAL;
    }
    uuid_v7(id);
    uuid_format(id, id_text);
    crypto_sha256(key, LENGTH, hash);
    pg_text(&params, id_text);
    pg_int(&params, request->principal.workspace_id);
    pg_int(&params, request->principal.user_id);
    pg_text(&params, values[NAME].text);
    pg_text(&params, arena_strndup(request->arena, key, SHOWN));
    pg_bytes(&params, hash, sizeof(hash));
    pg_text(&params, scopes);
    pg_text(&params, number_or_null(request, &values[EXPIRES], USEC_PER_SEC));
    pg_text(&params, number_or_null(request, &values[PER_SECOND], 1));
    pg_text(&params, number_or_null(request, &values[BURST], 1));
    uuid_format(request->principal.grant_id, parent);
    pg_text(&params, request->principal.kind == PRINCIPAL_KEY ? parent : NULL);
    const struct audit_change change = {.statement = &CREATE,
                                        .params = &params,
                                        .lock_user_id = request->principal.user_id,
                                        .action = "apikey.created",
                                        .kind = "apikey",
                                        .detail_column = 1};
    e = audit_carry_out(request, &change, &created);
    if (e == ERR_INVALID) { /* the foreign key: the membership ended meanwhile */
        return challenge_scope(request, response, "You are not in this workspace any more.");
    }
    if (!e && PQntuples(created) == 0) {
        return problem_say(&request->problem, ERR_CONFLICT, "The workspace has %d keys, which is the most.",
                           KEYS_MAX);
    }
    if (!e) {
        answer_key(response, key, values, created);
    }
    crypto_wipe(key, sizeof(key));
    return e;
}

enum err apikey_delete(struct request *request, struct response *response)
{
    const char *id = request_param(request, "id");
    uint8_t parsed[16];
    struct pg_params params = {0};
    PG_RESULT_AUTO result = NULL;
    const struct audit_change change = {.statement = &DELETE,
                                        .params = &params,
                                        .action = "apikey.revoked",
                                        .kind = "apikey",
                                        .detail_column = 1};
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, id);
    pg_int(&params, whose(request));
    enum err e = check_manager(request, response);
    if (e) {
        return e;
    }
    e = uuid_parse(id, parsed) ? audit_carry_out(request, &change, &result) : ERR_NOT_FOUND;
    if (e == ERR_NOT_FOUND || (!e && PQntuples(result) == 0)) {
        return problem_say(&request->problem, ERR_NOT_FOUND, "There is no key with this id.");
    }
    if (!e) {
        response_empty(response, 204);
    }
    return e;
}

enum err apikey_prune(struct pg *pg, bool *ret_more)
{
    PG_RESULT_AUTO result = NULL;
    enum err e = pg_query(pg, &PRUNE, NULL, &result);
    if (!e) {
        *ret_more = PQntuples(result) > 0;
    }
    return e;
}
