/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(void)
{
    static const char MESSAGE[] = "{\"level\":\"error\",\"message\":\"out of memory\"}\n";
    ssize_t written = write(STDERR_FILENO, MESSAGE, sizeof(MESSAGE) - 1);
    (void)written;
    abort();
}

void *mem_alloc(size_t size_bytes)
{
    void *p = malloc(size_bytes ? size_bytes : 1);
    if (!p) {
        out_of_memory();
    }
    return p;
}

void *mem_zalloc(size_t count, size_t size_bytes)
{
    void *p = calloc(count ? count : 1, size_bytes ? size_bytes : 1);
    if (!p) {
        out_of_memory();
    }
    return p;
}

void *mem_resize(void *p, size_t size_bytes)
{
    p = realloc(p, size_bytes ? size_bytes : 1);
    if (!p) {
        out_of_memory();
    }
    return p;
}

char *mem_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(mem_alloc(size), s, size);
}
