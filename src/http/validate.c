/* SPDX-License-Identifier: Apache-2.0 */
#include "http/validate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"

/* One field under check. */
struct check {
    struct problem *problem;
    const struct field *field;
    const char *name; /* with its prefix */
    struct value *value;
};

/* "1 character", "2 characters" */
static const char *plural(int64_t amount)
{
    return amount == 1 ? "" : "s";
}

static enum err check_bounds(const struct check *check, int64_t amount, const char *unit)
{
    const struct field *field = check->field;
    if (amount < field->min) {
        return problem_field(check->problem, check->name, "too_short", "must have at least %" PRId64 " %s%s",
                             field->min, unit, plural(field->min));
    }
    if (amount > field->max) {
        return problem_field(check->problem, check->name, "too_long", "must have at most %" PRId64 " %s%s",
                             field->max, unit, plural(field->max));
    }
    return ERR_OK;
}

static bool has_control(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static enum err check_string(const struct check *check, const char *text, size_t length)
{
    const struct field *field = check->field;
    if (memchr(text, '\0', length)) {
        return problem_field(check->problem, check->name, "nul_character", "must not contain U+0000");
    }
    if ((field->flags & FIELD_ONE_LINE) && has_control(text, length)) {
        return problem_field(check->problem, check->name, "control_character",
                             "must not contain control characters");
    }
    bool bytes = field->type == FIELD_BYTES;
    enum err e = check_bounds(check, (int64_t)(bytes ? length : utf8_count(text, length)),
                              bytes ? "byte" : "character");
    const char *wrong = !e && field->check ? field->check(text, length) : NULL;
    if (wrong) {
        return problem_field(check->problem, check->name, "format", "%s", wrong);
    }
    check->value->text = text;
    check->value->length = length;
    return e;
}

static enum err check_integer(const struct check *check, int64_t number)
{
    if (number < check->field->min || number > check->field->max) {
        return problem_field(check->problem, check->name, "out_of_range",
                             "must be from %" PRId64 " to %" PRId64, check->field->min, check->field->max);
    }
    check->value->integer = number;
    return ERR_OK;
}

static enum err check_time(const struct check *check, const char *text, size_t length)
{
    static const char *const WRONG[] = {
        [FIELD_TIME] = "must be an RFC 3339 time as in 2026-01-31T12:00:00Z",
        [FIELD_DATE] = "must be a date as in 2026-01-31",
        [FIELD_MOMENT] = "must be a date as in 2026-01-31 or an RFC 3339 time as in 2026-01-31T12:00:00Z",
    };
    enum field_type type = check->field->type;
    bool ok = (type != FIELD_TIME && clock_parse_date(text, length, &check->value->integer)) ||
              (type != FIELD_DATE && clock_parse(text, length, &check->value->integer));
    if (!ok) {
        return problem_field(check->problem, check->name, "format", "%s", WRONG[type]);
    }
    check->value->text = text;
    check->value->length = length;
    return ERR_OK;
}

static enum err wrong_type(const struct check *check, const char *expected)
{
    return problem_field(check->problem, check->name, "type", "must be %s", expected);
}

static enum err check_number(const struct check *check, struct json_object *json)
{
    enum json_type type = json_object_get_type(json);
    if (type != json_type_int && type != json_type_double) {
        return wrong_type(check, "a number");
    }
    if (!json_number_storable(json)) {
        return problem_field(check->problem, check->name, "out_of_range",
                             "is too large, too close to zero or too long to be stored");
    }
    check->value->text = json_text(json, &check->value->length); /* as it was sent: decimals stay exact */
    return ERR_OK;
}

static enum err check_json(const struct check *check, struct json_object *json)
{
    enum json_type type = json_object_get_type(json);
    bool is_string = type == json_type_string;
    const char *text = is_string ? json_object_get_string(json) : NULL;
    size_t length = is_string ? (size_t)json_object_get_string_len(json) : 0;

    check->value->json = json;
    switch (check->field->type) {
    case FIELD_STRING:
    case FIELD_BYTES:
        return is_string ? check_string(check, text, length) : wrong_type(check, "a string");
    case FIELD_TIME:
    case FIELD_DATE:
    case FIELD_MOMENT:
        return is_string ? check_time(check, text, length) : wrong_type(check, "a string");
    case FIELD_INTEGER:
        return type == json_type_int ? check_integer(check, json_object_get_int64(json))
                                     : wrong_type(check, "a whole number");
    case FIELD_NUMBER:
        return check_number(check, json);
    case FIELD_BOOLEAN:
        check->value->integer = type == json_type_boolean && json_object_get_boolean(json);
        return type == json_type_boolean ? ERR_OK : wrong_type(check, "true or false");
    case FIELD_OBJECT:
        return type == json_type_object ? ERR_OK : wrong_type(check, "an object");
    case FIELD_ARRAY:
        return type == json_type_array
                   ? check_bounds(check, (int64_t)json_object_array_length(json), "element")
                   : wrong_type(check, "an array");
    }
    return ERR_INTERNAL;
}

static bool names_field(const struct field *field, const char *name)
{
    if (field->flags & FIELD_PREFIX) {
        size_t length = strlen(field->name);
        return strncmp(name, field->name, length) == 0 && name[length];
    }
    return strcmp(name, field->name) == 0;
}

static const struct field *find_field(const struct field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (names_field(&fields[i], name)) {
            return &fields[i];
        }
    }
    return NULL;
}

/* The start of a name from outside, cut between characters. */
static const char *full_name(struct problem *problem, const char *prefix, const char *name)
{
    enum { NAME_SHOWN = 64 };
    size_t shown = 0, length = strlen(name);
    while (shown < length) {
        size_t n = utf8_sequence(name + shown, length - shown);
        if (n == 0 || shown + n > NAME_SHOWN) {
            break;
        }
        shown += n;
    }
    return arena_printf(problem->arena, "%s%.*s", prefix, (int)shown, name);
}

enum err validate_object(struct problem *problem, const char *prefix, struct json_object *object,
                         const struct field *fields, size_t count, struct value *ret_values)
{
    enum err result = ERR_OK;
    memset(ret_values, 0, count * sizeof(*ret_values));
    if (!json_object_is_type(object, json_type_object)) {
        return problem_field(problem, *prefix ? prefix : "body", "type", "must be an object");
    }
    for (size_t i = 0; i < count; i++) {
        struct value *value = &ret_values[i];
        struct json_object *json = NULL;
        value->present = json_object_object_get_ex(object, fields[i].name, &json);
        value->is_null = value->present && !json;
        enum err e = ERR_OK;
        struct check check = {problem, &fields[i], fields[i].name, value};
        if (*prefix) {
            check.name = full_name(problem, prefix, fields[i].name);
        }
        if (!value->present) {
            if (fields[i].flags & FIELD_REQUIRED) {
                e = problem_field(problem, check.name, "required", "is required");
            }
        } else if (!value->is_null) {
            e = check_json(&check, json);
        } else if (!(fields[i].flags & FIELD_NULLABLE)) {
            e = problem_field(problem, check.name, "type", "must not be null");
        }
        result = e ? e : result;
    }
    json_object_object_foreach(object, name, member)
    {
        (void)member;
        if (!find_field(fields, count, name)) {
            result = problem_field(problem, full_name(problem, prefix, name), "unknown_field",
                                   "is not a known field");
        }
    }
    return result;
}

enum err validate_parse(struct request *request, struct json_object **ret_body)
{
    struct json_fault fault;
    if (!json_parse(request->body, request->body_length, ret_body, &fault)) {
        if (fault.too_large) {
            return problem_say(
                &request->problem, ERR_TOO_LARGE,
                "The body has too many values: past %d, where an object counts 8 and a list 4.",
                JSON_WEIGHT_MAX);
        }
        return problem_say(&request->problem, ERR_BAD_REQUEST, "The body is not valid JSON: at byte %zu, %s.",
                           fault.offset, fault.reason);
    }
    return ERR_OK;
}

enum err validate_body(struct request *request, const struct field *fields, size_t count,
                       struct json_object **ret_body, struct value *ret_values)
{
    enum err e = validate_parse(request, ret_body);
    return e ? e : validate_object(&request->problem, "", *ret_body, fields, count, ret_values);
}

static enum err check_param(const struct check *check, const struct request_param *param)
{
    char *end;
    switch (check->field->type) {
    case FIELD_STRING:
    case FIELD_BYTES:
        return check_string(check, param->text, param->length);
    case FIELD_TIME:
    case FIELD_DATE:
    case FIELD_MOMENT:
        return check_time(check, param->text, param->length);
    case FIELD_INTEGER: {
        errno = 0;
        long long number = strtoll(param->text, &end, 10);
        bool digits_only = param->text[strspn(param->text, "-0123456789")] == '\0';
        if (errno || end == param->text || *end || !digits_only) {
            return wrong_type(check, "a whole number");
        }
        return check_integer(check, number);
    }
    default:
        return ERR_INTERNAL; /* no table has such a parameter */
    }
}

static bool is_repeated(const struct request *request, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(request->query_params[i].name, request->query_params[index].name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whatever became query_params. `lenient`: by the rules of RFC 6749 sections 3.1 and 3.2, where a name that
 * is not known is ignored and an empty value counts as none. */
static enum err check_params(struct request *request, const struct field *fields, size_t count, bool lenient,
                             struct value *ret_values)
{
    enum err result = ERR_OK;
    memset(ret_values, 0, count * sizeof(*ret_values));
    for (size_t i = 0; i < request->query_count; i++) {
        const struct request_param *param = &request->query_params[i];
        const struct field *field = find_field(fields, count, param->name);
        const char *name = full_name(&request->problem, "", param->name);
        enum err e;
        if (lenient && (!field || param->length == 0)) {
            continue;
        }
        if (!field) {
            e = problem_field(&request->problem, name, "unknown_field", "is not a known parameter");
        } else if (is_repeated(request, i)) {
            e = problem_field(&request->problem, name, "repeated", "is given more than once");
        } else {
            struct check check = {&request->problem, field, name, &ret_values[field - fields]};
            check.value->present = true;
            e = check_param(&check, param);
        }
        result = e ? e : result;
    }
    for (size_t i = 0; i < count; i++) {
        if ((fields[i].flags & FIELD_REQUIRED) && !ret_values[i].present) {
            result = problem_field(&request->problem, fields[i].name, "required", "is required");
        }
    }
    return result;
}

enum err validate_query(struct request *request, const struct field *fields, size_t count,
                        struct value *ret_values)
{
    enum err e = request_parse_query(request);
    return e ? e : check_params(request, fields, count, false, ret_values);
}

enum err validate_form(struct request *request, const struct field *fields, size_t count,
                       struct value *ret_values)
{
    enum err e = request_parse_form(request);
    return e ? e : check_params(request, fields, count, true, ret_values);
}

static bool label_valid(const char *label, size_t length)
{
    enum { LABEL_MAX = 63 };
    if (length == 0 || length > LABEL_MAX || label[0] == '-' || label[length - 1] == '-') {
        return false;
    }
    return strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") >= length;
}

const char *validate_email(const char *text, size_t length)
{
    static const char WRONG[] = "must be an e-mail address as in name@example.org";
    static const char LOCAL[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.!#$%&'*+/=?^_`{|}~-";
    enum { EMAIL_MAX = 254, LOCAL_MAX = 64 };
    size_t local = strspn(text, LOCAL);
    if (length > EMAIL_MAX || local == 0 || local > LOCAL_MAX || text[local] != '@') {
        return WRONG;
    }
    /* RFC 5321 section 4.1.2: dots stand between atoms. */
    if (text[0] == '.' || text[local - 1] == '.' || strstr(text, "..")) {
        return WRONG;
    }
    const char *at = text + local + 1;
    for (;;) {
        size_t label = strcspn(at, ".");
        if (!label_valid(at, label)) {
            return WRONG;
        }
        if (!at[label]) {
            return NULL;
        }
        at += label + 1;
    }
}
