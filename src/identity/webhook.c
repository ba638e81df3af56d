/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/webhook.h"

#include <curl/curl.h>
#include <string.h>

#include "base/json.h"
#include "base/network.h"
#include "http/keyset.h"
#include "http/validate.h"
#include "identity/audit.h"
#include "identity/domain_event.h"
#include "identity/item.h"
#include "work/delivery.h"
#include "work/webhook_secret.h"

enum { URL_MAX = 2000, PATTERN_MAX = 50, PATTERNS_MAX = 50, DESCRIPTION_MAX = 200 };

#define ITEM                                                                                                                         \
    "json_build_object('id', id, 'url', url, 'description', description, 'event_types', event_types, 'format', format, "             \
    "'state', state, 'disabled_reason', disabled_reason, 'failing_since', " PG_UTC("failing_since") ", 'old_secret_until', " PG_UTC( \
        "CASE WHEN old_secret_until > now() THEN old_secret_until END") ", 'created_by', created_by, 'created_at', " PG_UTC("created_at") ")"
/* URLs stay out of the log: what they have behind the host may be a secret. */
#define DETAIL "jsonb_build_object('workspace_id', workspace_id, 'event_types', event_types, 'state', state)"

static const struct pg_statement LIST = {
    "webhook_list",
    "SELECT id, " ITEM " FROM webhooks WHERE workspace_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1000"};
static const struct pg_statement SHOW = {
    "webhook_show", "SELECT id, " ITEM " FROM webhooks WHERE workspace_id = $1 AND id = $2::uuid"};
static const struct pg_statement CREATE = {
    "webhook_create",
    "INSERT INTO webhooks (workspace_id, id, url, description, event_types, format, secret, created_by) "
    "SELECT $1::bigint, $2::uuid, $3, $4, $5::text[], $6, $7::bytea, (SELECT id FROM users WHERE id = $8) "
    "WHERE (SELECT count(*) FROM webhooks WHERE workspace_id = $1::bigint) < 100 RETURNING id, " DETAIL
    ", " ITEM};
static const struct pg_statement CHANGE = {
    "webhook_change",
    "UPDATE webhooks SET url = coalesce($3, url), description = CASE WHEN $4::boolean THEN $5 ELSE description END, "
    "event_types = coalesce($6::text[], event_types), format = coalesce($7, format), state = coalesce($8, state), "
    "disabled_reason = CASE WHEN $8::text IS NULL THEN disabled_reason END, "
    "failing_since = CASE WHEN $8::text IS NULL AND $3::text IS NULL THEN failing_since END, slow = slow AND $3::text IS NULL, "
    "revision = revision + ($3::text IS NOT NULL OR $8::text IS NOT NULL)::int "
    "WHERE workspace_id = $1 AND id = $2::uuid RETURNING id, " DETAIL ", " ITEM};
static const struct pg_statement DELETE = {
    "webhook_delete", "DELETE FROM webhooks WHERE workspace_id = $1 AND id = $2::uuid RETURNING id, " DETAIL};
static const struct pg_statement ROTATE = {
    "webhook_rotate",
    "UPDATE webhooks SET old_secret = secret, old_secret_until = now() + interval '1 day', secret = $3::bytea "
    "WHERE workspace_id = $1 AND id = $2::uuid RETURNING id, " DETAIL ", " ITEM};
static const struct pg_statement FOR_TEST = {
    "webhook_for_test",
    "SELECT id, " DETAIL ", state FROM webhooks WHERE workspace_id = $1 AND id = $2::uuid FOR KEY SHARE"};

static const char KIND[] = "webhook";

enum err webhook_list(struct request *request, struct response *response)
{
    return item_list(request, response, &LIST);
}

enum err webhook_show(struct request *request, struct response *response)
{
    return item_show(request, response, KIND, &SHOW);
}

/* ---- what may be asked for ---- */

/* A part of a URL for curl to free; NULL: there is none. */
static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

static const char *judge_url(CURLU *url, const char *text, const struct config *config)
{
    char *scheme = part_of(url, CURLUPART_SCHEME), *host = part_of(url, CURLUPART_HOST);
    char *user = part_of(url, CURLUPART_USER), *password = part_of(url, CURLUPART_PASSWORD);
    char *fragment = part_of(url, CURLUPART_FRAGMENT);
    const char *wrong = NULL;
    bool is_address = false;
    if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        wrong = "must begin with https:// or http://";
    } else if (user || password) {
        wrong = "must have no user and no password in it";
    } else if (fragment) {
        wrong = "must have no fragment";
    } else if (!host || !*host || strstr(text, ":///")) { /* libcurl would look for a host behind it */
        wrong = "must name a host";
    } else {
        size_t length = strlen(host);
        if (*host == '[' && host[length - 1] == ']') { /* an address of IPv6 */
            host[length - 1] = '\0';
        }
        wrong = network_text_allowed(config->webhook_allow, config->webhook_deny, host + (*host == '['),
                                     &is_address)
                    ? NULL
                    : "is of an address that may not be sent to";
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_free(fragment);
    return wrong;
}

static enum err check_url(struct request *request, const struct value *value)
{
    if (!value->present) {
        return ERR_OK;
    }
    for (size_t i = 0; i < value->length; i++) {
        if ((unsigned char)value->text[i] <= ' ' || (unsigned char)value->text[i] >= 0x7f) {
            return problem_field(&request->problem, "url", "format",
                                 "must be printable ASCII, without spaces");
        }
    }
    CURLU *url = curl_url();
    bool parsed = url && curl_url_set(url, CURLUPART_URL, value->text, 0) == CURLUE_OK;
    const char *wrong = parsed ? judge_url(url, value->text, request->services->config)
                               : "must be a URL, as in https://example.org/hook";
    curl_url_cleanup(url);
    return wrong ? problem_field(&request->problem, "url", "format", "%s", wrong) : ERR_OK;
}

/* The patterns as an array of PostgreSQL's; none has a character that it would quote. */
static enum err read_patterns(struct request *request, const struct value *value, const char **ret_array)
{
    const char *array = "";
    *ret_array = NULL;
    for (size_t i = 0; value->present && i < json_object_array_length(value->json); i++) {
        struct json_object *entry = json_object_array_get_idx(value->json, i);
        const char *text = json_object_is_type(entry, json_type_string) ? json_object_get_string(entry) : "";
        size_t length =
            json_object_is_type(entry, json_type_string) ? (size_t)json_object_get_string_len(entry) : 0;
        if (length == 0 || length > PATTERN_MAX || strlen(text) != length ||
            !domain_event_pattern_known(text)) {
            return problem_field(
                &request->problem, arena_printf(request->arena, "event_types[%zu]", i), "unknown",
                "must be a type of event, as in user.created, all of a noun, as in user.*, or *");
        }
        array = arena_printf(request->arena, "%s%s\"%s\"", array, i ? "," : "", text);
    }
    if (value->present) {
        *ret_array = arena_printf(request->arena, "{%s}", array);
    }
    return ERR_OK;
}

static const char *check_format(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "standard") == 0 || strcmp(text, "cloudevents") == 0
               ? NULL
               : "must be standard or cloudevents";
}

static const char *check_state(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "enabled") == 0 || strcmp(text, "paused") == 0 ? NULL : "must be enabled or paused";
}

/* ---- making and changing one ---- */

/* Answer with what a statement returned, and the secret, unless that is NULL. */
static void answer(struct response *response, int status, const PGresult *row, const char *secret)
{
    JSON_AUTO item = keyset_json(row, 0, 2);
    if (secret) {
        json_add_string(item, "secret", secret);
    }
    response_json(response, status, item);
}

static bool draw(struct request *request, const char *id, char ret_text[WEBHOOK_SECRET_SIZE],
                 uint8_t ret_sealed[WEBHOOK_SEALED_SIZE])
{
    uint8_t key[CRYPTO_KEY_SIZE];
    bool made = webhook_secret_key(request->services->config, key) &&
                webhook_secret_draw(key, id, ret_text, ret_sealed);
    crypto_wipe(key, sizeof(key));
    return made;
}

enum err webhook_create(struct request *request, struct response *response)
{
    enum { URL, TYPES, DESCRIPTION, FORMAT, FIELDS };
    static const struct field TABLE[FIELDS] = {
        {"url", FIELD_BYTES, FIELD_REQUIRED, 1, URL_MAX, NULL},
        {"event_types", FIELD_ARRAY, FIELD_REQUIRED, 1, PATTERNS_MAX, NULL},
        {"description", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 0, DESCRIPTION_MAX, NULL},
        {"format", FIELD_STRING, 0, 1, 20, check_format},
    };
    struct value values[FIELDS];
    uint8_t id[16], sealed[WEBHOOK_SEALED_SIZE];
    char id_text[UUID_TEXT_SIZE], secret[WEBHOOK_SECRET_SIZE];
    const char *patterns;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    PG_RESULT_AUTO made = NULL;
    const struct audit_change change = {.statement = &CREATE,
                                        .params = &params,
                                        .before = item_one_by_one,
                                        .action = "webhook.created",
                                        .kind = KIND,
                                        .detail_column = 1};
    enum err e = validate_body(request, TABLE, FIELDS, &body, values);
    e = e ? e : check_url(request, &values[URL]);
    e = e ? e : read_patterns(request, &values[TYPES], &patterns);
    if (e) {
        return e;
    }
    uuid_v7(id);
    uuid_format(id, id_text);
    if (!draw(request, id_text, secret, sealed)) {
        return ERR_INTERNAL;
    }
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, id_text);
    pg_text(&params, values[URL].text);
    pg_text(&params, values[DESCRIPTION].text);
    pg_text(&params, patterns);
    pg_text(&params, values[FORMAT].present ? values[FORMAT].text : "standard");
    pg_bytes(&params, sealed, sizeof(sealed));
    pg_int(&params, request->principal.user_id);
    e = audit_carry_out(request, &change, &made);
    if (!e && PQntuples(made) == 0) {
        e = problem_say(&request->problem, ERR_CONFLICT,
                        "The workspace has a hundred webhooks, which is the most.");
    } else if (!e) {
        answer(response, 201, made, secret);
    }
    crypto_wipe(secret, sizeof(secret));
    return e;
}

enum err webhook_change(struct request *request, struct response *response)
{
    enum { URL, TYPES, DESCRIPTION, FORMAT, STATE, FIELDS };
    static const struct field TABLE[FIELDS] = {
        {"url", FIELD_BYTES, 0, 1, URL_MAX, NULL},
        {"event_types", FIELD_ARRAY, 0, 1, PATTERNS_MAX, NULL},
        {"description", FIELD_STRING, FIELD_NULLABLE | FIELD_ONE_LINE, 0, DESCRIPTION_MAX, NULL},
        {"format", FIELD_STRING, 0, 1, 20, check_format},
        {"state", FIELD_STRING, 0, 1, 20, check_state},
    };
    struct value values[FIELDS];
    const char *patterns;
    struct pg_params params = {0};
    JSON_AUTO body = NULL;
    const struct audit_change change = {.statement = &CHANGE,
                                        .params = &params,
                                        .action = "webhook.changed",
                                        .kind = KIND,
                                        .detail_column = 1};
    enum err e = validate_body(request, TABLE, FIELDS, &body, values);
    e = e ? e : item_params(request, KIND, &params);
    e = e ? e : check_url(request, &values[URL]);
    e = e ? e : read_patterns(request, &values[TYPES], &patterns);
    if (e) {
        return e;
    }
    pg_text(&params, values[URL].text);
    pg_text(&params, values[DESCRIPTION].present ? "t" : "f");
    pg_text(&params, values[DESCRIPTION].text);
    pg_text(&params, patterns);
    pg_text(&params, values[FORMAT].text);
    pg_text(&params, values[STATE].text);
    return item_change(request, response, &change, 200);
}

/* With all that waits for it: not while somebody else makes or ends deliveries. */
static enum err before_delete(struct pg *pg, const struct pg_params *params)
{
    (void)params;
    return delivery_lock(pg);
}

enum err webhook_delete(struct request *request, struct response *response)
{
    struct pg_params params = {0};
    const struct audit_change change = {.statement = &DELETE,
                                        .params = &params,
                                        .before = before_delete,
                                        .action = "webhook.deleted",
                                        .kind = KIND,
                                        .detail_column = 1};
    enum err e = item_params(request, KIND, &params);
    return e ? e : item_change(request, response, &change, 204);
}

enum err webhook_rotate(struct request *request, struct response *response)
{
    uint8_t sealed[WEBHOOK_SEALED_SIZE];
    char secret[WEBHOOK_SECRET_SIZE];
    char id[UUID_TEXT_SIZE]; /* as it is stored, in lower case: it is sealed under that */
    uint8_t parsed[16];
    struct pg_params params = {0};
    PG_RESULT_AUTO rotated = NULL;
    const struct audit_change change = {.statement = &ROTATE,
                                        .params = &params,
                                        .action = "webhook.secret_rotated",
                                        .kind = KIND,
                                        .detail_column = 1};
    enum err e = item_params(request, KIND, &params);
    if (e) {
        return e;
    }
    (void)uuid_parse(request_param(request, "id"), parsed);
    uuid_format(parsed, id);
    if (!draw(request, id, secret, sealed)) {
        return ERR_INTERNAL;
    }
    pg_bytes(&params, sealed, sizeof(sealed));
    e = audit_carry_out(request, &change, &rotated);
    if (!e && PQntuples(rotated) == 0) {
        e = item_unknown(request, KIND);
    } else if (!e) {
        answer(response, 200, rotated, secret);
    }
    crypto_wipe(secret, sizeof(secret));
    return e;
}

/* ---- trying one ---- */

struct testing {
    struct request *request;
    PGresult *webhook;
    bool enabled;
    char event_id[UUID_TEXT_SIZE];
};

static enum err run_test(struct pg *pg, void *argument)
{
    struct testing *testing = argument;
    struct request *request = testing->request;
    struct pg_params params = {0};
    const struct audit_change change = {.statement = &FOR_TEST,
                                        .params = &params,
                                        .action = "webhook.tested",
                                        .kind = KIND,
                                        .detail_column = 1};
    enum err e = item_params(request, KIND, &params);
    e = e ? e : audit_run(pg, request, &change, &testing->webhook);
    if (e) {
        return e;
    }
    if (PQntuples(testing->webhook) == 0) {
        return item_unknown(request, KIND);
    }
    if (strcmp(pg_get_text(testing->webhook, 0, 2), "enabled") != 0) {
        return problem_say(&request->problem, ERR_CONFLICT, "The webhook is not enabled.");
    }
    return domain_event_test(pg, request, pg_get_text(testing->webhook, 0, 0), testing->event_id);
}

enum err webhook_test(struct request *request, struct response *response)
{
    struct testing testing = {.request = request};
    enum err e = pg_transaction(request->services->pg, run_test, &testing);
    PQclear(testing.webhook);
    if (!e) {
        JSON_AUTO item = json_object_new_object();
        json_add_string(item, "event_id", testing.event_id);
        response_json(response, 202, item);
    }
    return e;
}
