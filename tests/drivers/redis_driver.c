/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_driver URL TIMEOUT_MS - connections to Redis as the threads of a process have them, for
 * tests/drivers/test_redis.py.
 *
 * A line is `N ping`, `N get KEY MAX_BYTES` or `N set KEY VALUE TTL_MS`, with N the number of the
 * connection, and keys and values in hex. What comes back is `RESULT MICROSECONDS VALUE`.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/mem.h"
#include "store/redis.h"

enum { CONNECTIONS = 4, WORDS_MAX = 5 };

struct bytes {
    char *data;
    size_t length;
};

static struct bytes from_hex(const char *hex)
{
    size_t length = strlen(hex) / 2;
    struct bytes bytes = {mem_alloc(length + 1), length};
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) {
            abort();
        }
        bytes.data[i] = (char)byte;
    }
    return bytes;
}

static const char *name_of(enum err e)
{
    return e == ERR_OK ? "ok" : e == ERR_NOT_FOUND ? "miss" : e == ERR_UNAVAILABLE ? "away" : "unexpected";
}

static enum err run(struct redis *redis, char *const *words, struct buf *ret_value)
{
    if (strcmp(words[1], "ping") == 0) {
        return redis_ping(redis);
    }
    struct bytes key = from_hex(words[2]);
    enum err e;
    if (strcmp(words[1], "get") == 0) {
        ret_value->max_bytes = strtoul(words[3], NULL, 10);
        e = redis_get(redis, key.data, key.length, ret_value);
    } else {
        struct bytes value = from_hex(words[3]);
        e = redis_set(redis, key.data, key.length, value.data, value.length, strtoll(words[4], NULL, 10));
        free(value.data);
    }
    free(key.data);
    return e;
}

static void serve(struct redis *const *connections, char *line)
{
    char *words[WORDS_MAX] = {NULL}, *rest = line;
    struct buf value;
    for (size_t i = 0; i < WORDS_MAX; i++) {
        words[i] = strtok_r(rest, " \n", &rest);
    }
    buf_init(&value, 0);
    int64_t start_us = clock_monotonic_us();
    enum err e = run(connections[strtoul(words[0], NULL, 10)], words, &value);
    int64_t took_us = clock_monotonic_us() - start_us;
    char *hex = mem_alloc(2 * value.length + 1);
    crypto_hex((const uint8_t *)buf_text(&value), value.length, hex);
    printf("%s %lld %s\n", name_of(e), (long long)took_us, hex);
    fflush(stdout);
    free(hex);
    buf_free(&value);
}

int main(int argc, char **argv)
{
    struct redis *connections[CONNECTIONS];
    char *line = NULL;
    size_t size = 0;
    if (argc != 3) {
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* a worker blocks it */
    for (int i = 0; i < CONNECTIONS; i++) {
        connections[i] = redis_new(argv[1], strtoll(argv[2], NULL, 10));
    }
    while (getline(&line, &size, stdin) > 0) {
        serve(connections, line);
    }
    free(line);
    for (int i = 0; i < CONNECTIONS; i++) {
        redis_free(connections[i]);
    }
    return 0;
}
