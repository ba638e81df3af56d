/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/print.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

enum { COLUMNS_MAX = 16 };

/* Control characters, which a name of somebody's could have, must not reach a terminal. */
static const char *text_of(struct json_object *value, char **ret_owned)
{
    *ret_owned = NULL;
    if (!value) {
        return "-";
    }
    if (json_object_is_type(value, json_type_boolean)) {
        return json_object_get_boolean(value) ? "yes" : "no";
    }
    bool structured =
        json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array);
    const char *text =
        structured
            ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)
            : json_object_get_string(value);
    *ret_owned = mem_strdup(text);
    for (char *c = *ret_owned; *c; c++) {
        unsigned char next = (unsigned char)c[1];
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        } else if ((unsigned char)*c == 0xc2 && next >= 0x80 && next < 0xa0) { /* U+0080 to U+009F */
            *c++ = '?';
            *c = '?';
        }
    }
    return *ret_owned;
}

static int width_of(struct json_object *value)
{
    char *owned;
    const char *text = text_of(value, &owned);
    int width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80; /* characters, not bytes */
    }
    free(owned);
    return width;
}

static void put(struct json_object *value, int width)
{
    char *owned;
    fputs(text_of(value, &owned), stdout);
    free(owned);
    int missing = width - width_of(value);
    if (missing > 0) {
        printf("%*s", missing, "");
    }
}

static void print_members(struct json_object *object)
{
    int width = 0;
    json_object_object_foreach(object, name, value)
    {
        (void)value;
        width = (int)strlen(name) > width ? (int)strlen(name) : width;
    }
    json_object_object_foreach(object, key, member)
    {
        printf("%-*s  ", width, key);
        put(member, 0);
        putchar('\n');
    }
}

static void print_table(struct json_object *items, const char *none)
{
    const char *names[COLUMNS_MAX];
    int widths[COLUMNS_MAX];
    size_t columns = 0, rows = json_object_array_length(items);
    if (rows == 0) {
        puts(none);
        return;
    }
    json_object_object_foreach(json_object_array_get_idx(items, 0), name, first)
    {
        (void)first;
        if (columns < COLUMNS_MAX) {
            names[columns] = name;
            widths[columns++] = (int)strlen(name);
        }
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < columns; i++) {
            int width = width_of(json_object_object_get(json_object_array_get_idx(items, row), names[i]));
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (size_t i = 0; i < columns; i++) {
        printf("%-*s%s", i + 1 < columns ? widths[i] : 0, names[i], i + 1 < columns ? "  " : "\n");
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = 0; i < columns; i++) {
            put(json_object_object_get(json_object_array_get_idx(items, row), names[i]),
                i + 1 < columns ? widths[i] : 0);
            fputs(i + 1 < columns ? "  " : "\n", stdout);
        }
    }
}

void ctl_print(const struct ctl *ctl, struct json_object *object, const char *none)
{
    struct json_object *items;
    size_t length;
    if (ctl->json) {
        puts(json_text(object, &length));
    } else if (json_object_object_get_ex(object, "items", &items)) {
        print_table(items, none);
    } else {
        print_members(object);
    }
}
