/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* The text with `.0` behind each integer that json-c would clamp. */
static char *widen(const char *text, size_t length, const struct json_notes *notes, size_t *ret_length)
{
    char *wide = mem_alloc(length + 2 * notes->wide_count + 1);
    size_t from = 0, out = 0;
    for (size_t i = 0; i < notes->wide_count; i++) {
        memcpy(wide + out, text + from, notes->wide[i] - from);
        out += notes->wide[i] - from;
        from = notes->wide[i];
        wide[out++] = '.';
        wide[out++] = '0';
    }
    memcpy(wide + out, text + from, length - from);
    *ret_length = out + length - from;
    return wide;
}

static bool build(struct json_reader *reader, const char *text, size_t length, struct json_object **ret_value,
                  struct json_fault *ret_fault)
{
    if (!reader->tokener) {
        /* json-c counts the scalar inside as a level of its own. */
        reader->tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 1);
        if (!reader->tokener) {
            *ret_fault = (struct json_fault){.reason = "out of memory"};
            return false;
        }
        json_tokener_set_flags(reader->tokener, JSON_TOKENER_STRICT | JSON_TOKENER_ALLOW_TRAILING_CHARS);
    }
    struct json_object *value = json_tokener_parse_ex(reader->tokener, text, (int)length);
    if (json_tokener_get_error(reader->tokener) == json_tokener_continue) {
        /* A number at the very end has no terminator; json-c wants to see one. */
        value = json_tokener_parse_ex(reader->tokener, " ", 1);
    }
    enum json_tokener_error error = json_tokener_get_error(reader->tokener);
    if (error != json_tokener_success) {
        json_object_put(value);
        json_tokener_reset(reader->tokener);
        *ret_fault = (struct json_fault){.reason = json_tokener_error_desc(error)};
        return false;
    }
    *ret_value = value;
    return true;
}

bool json_read(struct json_reader *reader, const char *text, size_t length, struct json_object **ret_value,
               struct json_fault *ret_fault)
{
    struct json_notes notes;
    if (length > INT32_MAX / 4) {
        *ret_fault = (struct json_fault){.reason = "the text is too long"};
        return false;
    }
    bool ok = json_scan_noting(text, length, &notes, ret_fault);
    if (ok && notes.nul_in_name) {
        *ret_fault = (struct json_fault){.reason = "a name holds U+0000"}; /* json-c would cut it there */
        ok = false;
    }
    if (ok && notes.wide_count) {
        char *wide = widen(text, length, &notes, &length);
        ok = build(reader, wide, length, ret_value, ret_fault);
        free(wide);
    } else if (ok) {
        ok = build(reader, text, length, ret_value, ret_fault);
    }
    json_notes_free(&notes);
    return ok;
}

void json_reader_free(struct json_reader *reader)
{
    if (reader->tokener) {
        json_tokener_free(reader->tokener);
        reader->tokener = NULL;
    }
}

bool json_parse(const char *text, size_t length, struct json_object **ret_value, struct json_fault *ret_fault)
{
    struct json_reader reader = {0};
    bool ok = json_read(&reader, text, length, ret_value, ret_fault);
    json_reader_free(&reader);
    return ok;
}

bool json_number_storable(struct json_object *number)
{
    size_t length;
    const char *text = json_text(number, &length);
    const char *exponent = strpbrk(text, "eE");
    double value = json_object_get_double(number);
    if (length > JSON_NUMBER_MAX + 2 || !isfinite(value)) { /* two more for the `.0` of a wide integer */
        return false;
    }
    long power = exponent ? strtol(exponent + 1, NULL, 10) : 0; /* clamped when it is past any bound */
    if (power > JSON_NUMBER_MAX || power < -JSON_NUMBER_MAX) {
        return false;
    }
    bool is_zero =
        text[strcspn(text, "123456789eE")] == '\0' || text + strcspn(text, "123456789eE") == exponent;
    return value != 0 || is_zero;
}

const char *json_unstorable(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_string:
        return memchr(json_object_get_string(value), '\0', (size_t)json_object_get_string_len(value))
                   ? "nul_character"
                   : NULL;
    case json_type_double:
        return json_number_storable(value) ? NULL : "out_of_range";
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            const char *why = json_unstorable(json_object_array_get_idx(value, i));
            if (why) {
                return why;
            }
        }
        return NULL;
    case json_type_object: {
        json_object_object_foreach(value, name, member)
        {
            (void)name; /* json_parse() lets no name with U+0000 through */
            const char *why = json_unstorable(member);
            if (why) {
                return why;
            }
        }
        return NULL;
    }
    default:
        return NULL;
    }
}

const char *json_text(struct json_object *value, size_t *ret_length)
{
    const char *text = json_object_to_json_string_length(
        value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, ret_length);
    if (!text) {
        abort(); /* json-c fails here only when memory is out */
    }
    return text;
}

void json_add(struct json_object *object, const char *name, struct json_object *value)
{
    if (json_object_object_add_ex(object, name, value, JSON_C_OBJECT_ADD_CONSTANT_KEY) != 0) {
        abort();
    }
}

void json_add_string(struct json_object *object, const char *name, const char *text_or_null)
{
    json_add(object, name, text_or_null ? json_object_new_string(text_or_null) : NULL);
}

void json_add_int(struct json_object *object, const char *name, int64_t value)
{
    json_add(object, name, json_object_new_int64(value));
}

struct json_object *json_number(const char *decimal)
{
    return json_object_new_double_s(strtod(decimal, NULL), decimal);
}

void json_add_number(struct json_object *object, const char *name, const char *decimal_or_null)
{
    json_add(object, name, decimal_or_null ? json_number(decimal_or_null) : NULL);
}

void json_add_time(struct json_object *object, const char *name, int64_t us)
{
    char text[CLOCK_TEXT_SIZE];
    clock_format(us, text);
    json_add_string(object, name, text);
}

void json_cleanup(struct json_object **value)
{
    json_object_put(*value);
}
