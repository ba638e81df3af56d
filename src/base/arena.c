/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK_SIZE_BYTES = 16 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t capacity;
    size_t used;
    alignas(max_align_t) char data[];
};

static struct arena_block *block_new(size_t capacity)
{
    struct arena_block *block = mem_alloc(sizeof(*block) + capacity);
    block->next = NULL;
    block->capacity = capacity;
    block->used = 0;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size_bytes)
{
    const size_t align = alignof(max_align_t);
    if (size_bytes > SIZE_MAX / 2) {
        abort();
    }
    size_t size = (size_bytes + align - 1) & ~(align - 1);

    struct arena_block *last = arena->last;
    if (!last || last->capacity - last->used < size) {
        struct arena_block *block = block_new(size > BLOCK_SIZE_BYTES ? size : BLOCK_SIZE_BYTES);
        if (last) {
            last->next = block;
        } else {
            arena->first = block;
        }
        arena->last = last = block;
    }
    void *p = last->data + last->used;
    last->used += size;
    return p;
}

void *arena_zalloc(struct arena *arena, size_t count, size_t size_bytes)
{
    if (size_bytes && count > SIZE_MAX / 2 / size_bytes) {
        abort();
    }
    return memset(arena_alloc(arena, count * size_bytes), 0, count * size_bytes);
}

char *arena_strndup(struct arena *arena, const char *s, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    memcpy(copy, s, length);
    copy[length] = '\0';
    return copy;
}

char *arena_strdup(struct arena *arena, const char *s)
{
    return arena_strndup(arena, s, strlen(s));
}

char *arena_vprintf(struct arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        abort();
    }
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

void arena_reset(struct arena *arena)
{
    if (!arena->first) {
        return;
    }
    struct arena_block *block = arena->first->next;
    while (block) {
        struct arena_block *next = block->next;
        free(block);
        block = next;
    }
    arena->first->next = NULL;
    arena->first->used = 0;
    arena->last = arena->first;
}

void arena_free(struct arena *arena)
{
    arena_reset(arena);
    free(arena->first);
    arena->first = arena->last = NULL;
}
