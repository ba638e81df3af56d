/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/cloudevent.h"

#include <string.h>
#include <strings.h>

#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"

static const char *check_version(const char *text, size_t length)
{
    (void)length;
    return strcmp(text, "1.0") == 0 ? NULL : "must be 1.0: other versions of CloudEvents are not taken";
}

bool cloudevent_is_json(const char *media_type)
{
    size_t length = strcspn(media_type, "; \t");
    const char *slash = memchr(media_type, '/', length);
    if (!slash || slash == media_type) {
        return false;
    }
    const char *subtype = slash + 1;
    size_t n = (size_t)(media_type + length - subtype);
    return (n == 4 || (n > 5 && subtype[n - 5] == '+')) && strncasecmp(subtype + n - 4, "json", 4) == 0;
}

static const char *check_content_type(const char *text, size_t length)
{
    (void)length;
    return cloudevent_is_json(text) ? NULL : "must be a JSON type: other data is not taken";
}

static const char *refuse_binary(const char *text, size_t length)
{
    (void)text;
    (void)length;
    return "is not taken: send JSON in data";
}

/* Those without a bound of their own are bounded by the size of an event. */
static const struct field FIELDS[] = {
    {"specversion", FIELD_STRING, FIELD_REQUIRED, 1, EVENT_TEXT_MAX, check_version},
    {"id", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, EVENT_TEXT_MAX, NULL},
    {"source", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, EVENT_TEXT_MAX, NULL},
    {"type", FIELD_STRING, FIELD_REQUIRED, 1, EVENT_TEXT_MAX, event_check_type},
    {"subject", FIELD_STRING, FIELD_REQUIRED | FIELD_ONE_LINE, 1, EVENT_USER_MAX, NULL},
    {"time", FIELD_TIME, FIELD_NULLABLE, 0, 0, NULL},
    {"datacontenttype", FIELD_STRING, FIELD_NULLABLE, 1, EVENT_TEXT_MAX, check_content_type},
    {"dataschema", FIELD_STRING, FIELD_NULLABLE, 1, EVENT_TEXT_MAX, NULL},
    {"data", FIELD_OBJECT, FIELD_NULLABLE, 0, 0, NULL},
    {"data_base64", FIELD_STRING, FIELD_NULLABLE, 0, EVENT_TEXT_MAX, refuse_binary},
};
enum { SPECVERSION, ID, SOURCE, TYPE, SUBJECT, TIME, CONTENT_TYPE, SCHEMA, DATA, DATA_BASE64, COUNT };

static bool is_known(const char *name)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(FIELDS[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* What then is left and not known has a name that no attribute may have. */
static void drop_extensions(struct json_object *object)
{
    json_object_object_foreach(object, name, value)
    {
        (void)value;
        size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
        if (length > 0 && !name[length] && !is_known(name)) {
            json_object_object_del(object, name);
        }
    }
}

static void make_id(struct arena *arena, const struct value *source, const struct value *id,
                    struct event *event)
{
    enum { PREFIX = 3, DIGEST_TEXT = (CRYPTO_SHA256_SIZE * 4 + 2) / 3 };
    uint8_t digest[CRYPTO_SHA256_SIZE];
    size_t length = source->length + 1 + id->length;
    char *key = arena_alloc(arena, length);
    char *text = arena_alloc(arena, PREFIX + DIGEST_TEXT + 1);

    memcpy(key, source->text, source->length);
    key[source->length] = '\0';
    memcpy(key + source->length + 1, id->text, id->length);
    crypto_sha256(key, length, digest);
    memcpy(text, "ce:", PREFIX);
    event->id_length = PREFIX + crypto_base64url(digest, sizeof(digest), text + PREFIX);
    event->id = text;
    event->id_given = true;
}

static enum err take_value(struct problem *problem, struct json_object *data, struct event *event)
{
    struct json_object *number = data ? json_object_object_get(data, "value") : NULL;
    enum json_type type = json_object_get_type(number);
    if (type != json_type_int && type != json_type_double) {
        return event_take_value(problem, "data.value", "1", 1, event);
    }
    if (!json_number_storable(number)) {
        return problem_field(problem, "data.value", "out_of_range",
                             "is too large, too close to zero or too long to be stored");
    }
    size_t length;
    const char *text = json_text(number, &length);
    return event_take_value(problem, "data.value", text, length, event);
}

enum err cloudevent_from_json(struct problem *problem, struct json_object *object, int64_t now_us,
                              struct event *ret_event)
{
    struct value values[COUNT];
    struct event event = {.fate = EVENT_PENDING};
    if (json_object_is_type(object, json_type_object)) {
        drop_extensions(object);
    }
    enum err fields = validate_object(problem, "", object, FIELDS, COUNT, values);
    enum err value = take_value(problem, values[DATA].json, &event);
    enum err data = event_take_metadata(problem, "data", values[DATA].json, &event);
    enum err time = event_take_time(problem, "time", &values[TIME], now_us, &event);
    if (fields || value || data || time) {
        return ERR_INVALID;
    }
    make_id(problem->arena, &values[SOURCE], &values[ID], &event);
    event.type = values[TYPE].text;
    event.type_length = values[TYPE].length;
    event.user_id = values[SUBJECT].text;
    event.user_id_length = values[SUBJECT].length;
    *ret_event = event;
    return ERR_OK;
}

/* ---- binary mode ---- */

/* The attributes that are headers. Data's type is Content-Type; extensions are not looked at. */
static const struct {
    const char *attribute;
    const char *variable;
} HEADERS[] = {
    {"specversion", "HTTP_CE_SPECVERSION"}, {"id", "HTTP_CE_ID"},
    {"source", "HTTP_CE_SOURCE"},           {"type", "HTTP_CE_TYPE"},
    {"subject", "HTTP_CE_SUBJECT"},         {"time", "HTTP_CE_TIME"},
    {"dataschema", "HTTP_CE_DATASCHEMA"},
};

bool cloudevent_in_headers(const struct request *request)
{
    return request_variable(request, "HTTP_CE_SPECVERSION") != NULL;
}

/* Take off double quotes, which older senders put around, and their backslashes. NULL when one is not
 * closed. */
static const char *unquote(struct arena *arena, const char *text)
{
    char *plain = arena_alloc(arena, strlen(text) + 1);
    size_t out = 0;
    bool quoted = false;
    for (; *text; text++) {
        if (*text == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && *text == '\\' && text[1]) {
            text++;
        }
        plain[out++] = *text;
    }
    plain[out] = '\0';
    return quoted ? NULL : plain;
}

enum err cloudevent_from_headers(struct request *request, struct json_object *data,
                                 struct json_object **ret_object)
{
    JSON_AUTO object = json_object_new_object();
    enum err e = ERR_OK;
    for (size_t i = 0; i < ARRAY_SIZE(HEADERS); i++) {
        const char *text = request_variable(request, HEADERS[i].variable);
        size_t length = 0;
        if (!text) {
            continue;
        }
        text = unquote(request->arena, text);
        text = text ? request_decode(request->arena, text, strlen(text), false, &length) : NULL;
        if (!text) {
            e = problem_field(&request->problem, HEADERS[i].attribute, "format",
                              "has an open quote, a broken escape, broken UTF-8 or a NUL in its header");
            continue;
        }
        json_add(object, HEADERS[i].attribute, json_object_new_string_len(text, (int)length));
    }
    if (data) {
        json_add(object, "data", json_object_get(data));
    }
    if (!e) {
        *ret_object = json_object_get(object);
    }
    return e;
}
