/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing string with a maximum that is set at birth. What would pass the maximum is dropped
 * whole and `overflow` stays set, so a writer may append freely and ask once at the end.
 */
#ifndef TALLYGATE_BASE_BUF_H
#define TALLYGATE_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* always ends in NUL when not NULL */
    size_t length;
    size_t capacity;
    size_t max_bytes;
    bool overflow;
};

void buf_init(struct buf *buf, size_t max_bytes);
void buf_free(struct buf *buf);
/* Empty it and keep its memory. */
void buf_reset(struct buf *buf);
/* Empty it, and give its memory back when it grew past `keep_bytes`. */
void buf_trim(struct buf *buf, size_t keep_bytes);

void buf_append(struct buf *buf, const void *data, size_t length);
void buf_puts(struct buf *buf, const char *s);
void buf_putc(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Append `length` bytes as a JSON string with its quotes. Control characters are escaped, broken
 * UTF-8 becomes U+FFFD, so no input can forge the line or the object around it. */
void buf_put_json_string(struct buf *buf, const char *s, size_t length);

/* The text so far; "" when nothing was appended. */
const char *buf_text(const struct buf *buf);

#endif
