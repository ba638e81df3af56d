/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request's memory: pieces are cut from blocks and all go at once. A request thread owns one
 * arena and resets it between requests, which keeps the first block, so a plain request allocates
 * nothing from the heap.
 */
#ifndef TALLYGATE_BASE_ARENA_H
#define TALLYGATE_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *first; /* kept by arena_reset() */
    struct arena_block *last;  /* the one that is being cut from */
};

/* An arena that is all zeros is ready for use. */

/* `size_bytes` bytes, aligned for any type, not cleared. Never NULL. */
void *arena_alloc(struct arena *arena, size_t size_bytes) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *arena, size_t count, size_t size_bytes) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *arena, const char *s, size_t length) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *arena, const char *s) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), returns_nonnull));
char *arena_vprintf(struct arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0), returns_nonnull));

/* Give back everything but the first block; pointers into the arena are dead. */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

#endif
