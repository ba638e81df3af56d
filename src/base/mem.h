/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocation that does not fail: out of memory ends the process, and the master starts another.
 * NULLs of libraries are checked where they are called.
 */
#ifndef TALLYGATE_BASE_MEM_H
#define TALLYGATE_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t count, size_t size_bytes) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t size_bytes) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
