/* SPDX-License-Identifier: Apache-2.0 */
/* cache, siphash */
#include "test.h"

#include <pthread.h>

#include "base/cache.h"
#include "base/clock.h"
#include "base/siphash.h"

enum { LONG_MS = 3600 * 1000, VALUE_MAX = 100000 };

static void put(struct cache *cache, const char *key, const char *value, int64_t ttl_ms)
{
    cache_put(cache, key, strlen(key), value, strlen(value), ttl_ms);
}

static bool holds(struct cache *cache, const char *key)
{
    struct buf value;
    buf_init(&value, VALUE_MAX);
    bool found = cache_get(cache, key, strlen(key), &value);
    buf_free(&value);
    return found;
}

static void assert_holds(struct cache *cache, const char *key, const char *expected)
{
    struct buf value;
    buf_init(&value, VALUE_MAX);
    buf_puts(&value, "what was there before");
    assert_true(cache_get(cache, key, strlen(key), &value));
    assert_string_equal(buf_text(&value), expected);
    buf_free(&value);
}

/* The vectors of the authors' reference implementation: the secret is 00 01 .. 0f, the text 00 01 .. */
static void siphash_is_the_one_of_its_authors(void **state)
{
    static const struct {
        size_t length;
        uint64_t hash;
    } CASES[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    uint8_t secret[SIPHASH_SECRET_SIZE], text[64];
    (void)state;
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        assert_true(siphash(secret, text, CASES[i].length) == CASES[i].hash);
    }
    secret[0] ^= 1;
    assert_false(siphash(secret, text, 0) == CASES[0].hash);
}

static void what_was_put_is_found_under_its_key_alone(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100000);
    assert_false(holds(cache, "a"));
    put(cache, "a", "one", LONG_MS);
    put(cache, "ab", "two", LONG_MS);
    put(cache, "", "three", LONG_MS);
    put(cache, "b", "", LONG_MS);
    assert_holds(cache, "a", "one");
    assert_holds(cache, "ab", "two");
    assert_holds(cache, "", "three");
    assert_holds(cache, "b", "");
    assert_false(holds(cache, "abc"));
    put(cache, "a", "another", LONG_MS);
    assert_holds(cache, "a", "another");
    cache_free(cache);
}

static void keys_and_values_are_bytes(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100000);
    struct buf value;
    buf_init(&value, 100);
    cache_put(cache, "k\0a", 3, "\0v\0", 3, LONG_MS);
    cache_put(cache, "k\0b", 3, "w", 1, LONG_MS);
    assert_false(cache_get(cache, "k", 1, &value));
    assert_true(cache_get(cache, "k\0a", 3, &value));
    assert_int_equal(value.length, 3);
    assert_memory_equal(value.data, "\0v\0", 3);
    buf_free(&value);
    cache_free(cache);
}

static void a_value_that_does_not_fit_is_a_miss(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100000);
    struct buf value;
    put(cache, "k", "12345", LONG_MS);
    buf_init(&value, 4);
    buf_puts(&value, "old");
    assert_false(cache_get(cache, "k", 1, &value));
    assert_string_equal(buf_text(&value), "old"); /* untouched */
    buf_free(&value);
    buf_init(&value, 5);
    assert_true(cache_get(cache, "k", 1, &value));
    buf_free(&value);
    cache_free(cache);
}

static void entries_expire(void **state)
{
    (void)state;
    struct cache *cache = cache_new(100000);
    put(cache, "never", "x", 0);
    put(cache, "never either", "x", -1);
    assert_false(holds(cache, "never"));
    assert_false(holds(cache, "never either"));
    int64_t start_us = clock_monotonic_us();
    put(cache, "short", "x", 20);
    put(cache, "long", "x", LONG_MS);
    while (holds(cache, "short")) {
        assert_true(clock_monotonic_us() - start_us < 30 * USEC_PER_SEC);
    }
    assert_true(clock_monotonic_us() - start_us >= 20 * 1000);
    assert_true(holds(cache, "long"));
    put(cache, "short", "y", LONG_MS);
    assert_holds(cache, "short", "y");
    cache_free(cache);
}

static void what_is_too_large_is_not_kept(void **state)
{
    (void)state;
    enum { MAX = 80000, LARGEST = MAX / 8 };
    struct cache *cache = cache_new(MAX);
    char *bytes = mem_zalloc(1, LARGEST + 1);
    struct buf value;
    buf_init(&value, VALUE_MAX);
    cache_put(cache, "a", 1, bytes, LARGEST, LONG_MS);
    cache_put(cache, "b", 1, bytes, LARGEST + 1, LONG_MS);
    cache_put(cache, bytes, LARGEST + 1, "v", 1, LONG_MS);
    assert_true(cache_get(cache, "a", 1, &value));
    assert_int_equal(value.length, LARGEST);
    assert_false(cache_get(cache, "b", 1, &value));
    assert_false(cache_get(cache, bytes, LARGEST + 1, &value));
    buf_free(&value);
    free(bytes);
    cache_free(cache);
}

static void the_least_lately_used_makes_room(void **state)
{
    enum { MAX = 64 * 1024, VALUE = 1000 };
    char key[16], value[VALUE];
    (void)state;
    struct cache *cache = cache_new(MAX);
    memset(value, 'v', sizeof(value));
    int kept = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        cache_put(cache, key, strlen(key), value, sizeof(value), LONG_MS);
        assert_true(holds(cache, key));
        assert_true(holds(cache, "0")); /* each look makes it the youngest again */
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        bool young = i == 0 || i > 1000 - MAX / VALUE / 2;
        bool found = holds(cache, key);
        assert_true(found || !young);
        kept += found;
    }
    /* Overhead counts, so that there are fewer than the values alone would allow, but not by much. */
    assert_in_range(kept, MAX / VALUE * 3 / 4, MAX / VALUE - 1);
    cache_free(cache);
}

static void none_and_tiny_ones_keep_nothing(void **state)
{
    static const size_t SIZES[] = {0, 1, 100, 150};
    (void)state;
    put(NULL, "k", "v", LONG_MS);
    assert_false(holds(NULL, "k"));
    cache_free(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
        struct cache *cache = cache_new(SIZES[i]);
        put(cache, "k", "v", LONG_MS);
        assert_false(holds(cache, "k"));
        cache_free(cache);
    }
}

/* ---- many threads ---- */

enum { THREADS = 4, KEYS = 64, ROUNDS = 4000, WORDS = 300 };

/* A value says whose it is in each of its words, so that a torn or a foreign one shows. */
static void *use(void *argument)
{
    struct cache *cache = argument;
    static _Atomic unsigned seeds;
    unsigned seed = ++seeds;
    struct buf found;
    buf_init(&found, VALUE_MAX);
    for (int i = 0; i < ROUNDS; i++) {
        uint32_t key = (uint32_t)rand_r(&seed) % KEYS;
        if (i % 3 == 0) {
            uint32_t value[WORDS];
            size_t words = (size_t)rand_r(&seed) % WORDS;
            for (size_t w = 0; w < words; w++) {
                value[w] = key;
            }
            cache_put(cache, (const char *)&key, sizeof(key), (const char *)value, words * sizeof(*value),
                      i % 2 ? 1 : LONG_MS);
        } else if (cache_get(cache, (const char *)&key, sizeof(key), &found)) {
            for (size_t at = 0; at < found.length; at += sizeof(key)) {
                if (memcmp(found.data + at, &key, sizeof(key)) != 0) {
                    abort(); /* cmocka's asserts belong to the main thread */
                }
            }
        }
    }
    buf_free(&found);
    return NULL;
}

static void threads_see_whole_values_of_their_keys(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    struct cache *cache = cache_new(32 * 1024); /* about half of what the keys need */
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use, cache), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_is_the_one_of_its_authors),
        cmocka_unit_test(what_was_put_is_found_under_its_key_alone),
        cmocka_unit_test(keys_and_values_are_bytes),
        cmocka_unit_test(a_value_that_does_not_fit_is_a_miss),
        cmocka_unit_test(entries_expire),
        cmocka_unit_test(what_is_too_large_is_not_kept),
        cmocka_unit_test(the_least_lately_used_makes_room),
        cmocka_unit_test(none_and_tiny_ones_keep_nothing),
        cmocka_unit_test(threads_see_whole_values_of_their_keys),
    };
    return RUN(tests);
}
