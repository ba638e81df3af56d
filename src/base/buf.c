/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = (struct buf){.max_bytes = max_bytes};
}

void buf_free(struct buf *buf)
{
    free(buf->data);
    buf->data = NULL;
    buf->length = buf->capacity = 0;
}

void buf_reset(struct buf *buf)
{
    buf->length = 0;
    buf->overflow = false;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

void buf_trim(struct buf *buf, size_t keep_bytes)
{
    buf_reset(buf);
    if (buf->capacity > keep_bytes) {
        buf_free(buf);
    }
}

/* Room for `more` bytes and the final NUL, or false at the maximum. */
static bool buf_reserve(struct buf *buf, size_t more)
{
    if (buf->overflow || more > buf->max_bytes - buf->length) {
        buf->overflow = true;
        return false;
    }
    size_t needed = buf->length + more + 1;
    if (needed > buf->capacity) {
        size_t capacity = buf->capacity ? buf->capacity : 256;
        while (capacity < needed) {
            capacity *= 2;
        }
        buf->data = mem_resize(buf->data, capacity);
        buf->capacity = capacity;
    }
    return true;
}

void buf_append(struct buf *buf, const void *data, size_t length)
{
    if (!buf_reserve(buf, length)) {
        return;
    }
    if (length) {
        memcpy(buf->data + buf->length, data, length);
    }
    buf->length += length;
    buf->data[buf->length] = '\0';
}

void buf_puts(struct buf *buf, const char *s)
{
    buf_append(buf, s, strlen(s));
}

void buf_putc(struct buf *buf, char c)
{
    buf_append(buf, &c, 1);
}

/* Formats into the room that is there, and again only when that was too little. */
void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    size_t room = buf->capacity - buf->length;
    va_start(args, format);
    int length = vsnprintf(room ? buf->data + buf->length : NULL, room, format, args);
    va_end(args);
    bool fits = length >= 0 && (size_t)length < room;
    if (length < 0 || !buf_reserve(buf, (size_t)length)) {
        buf->overflow = true;
        if (room) {
            buf->data[buf->length] = '\0';
        }
        return;
    }
    if (!fits) {
        va_start(args, format);
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, args);
        va_end(args);
    }
    buf->length += (size_t)length;
}

void buf_put_json_string(struct buf *buf, const char *s, size_t length)
{
    buf_putc(buf, '"');
    size_t i = 0;
    while (i < length) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            buf_putc(buf, '\\');
            buf_putc(buf, (char)c);
            i++;
        } else if (c == '\n') {
            buf_puts(buf, "\\n");
            i++;
        } else if (c < 0x20 || c == 0x7f) {
            buf_printf(buf, "\\u%04x", c);
            i++;
        } else if (c < 0x80) {
            size_t run = i + 1;
            while (run < length && (unsigned char)s[run] >= 0x20 && (unsigned char)s[run] < 0x7f &&
                   s[run] != '"' && s[run] != '\\') {
                run++;
            }
            buf_append(buf, s + i, run - i);
            i = run;
        } else {
            size_t n = utf8_sequence(s + i, length - i);
            if (n) {
                buf_append(buf, s + i, n);
                i += n;
            } else {
                buf_puts(buf, "\\ufffd");
                i++;
            }
        }
    }
    buf_putc(buf, '"');
}

const char *buf_text(const struct buf *buf)
{
    return buf->data ? buf->data : "";
}
