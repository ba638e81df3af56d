/* SPDX-License-Identifier: Apache-2.0 */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>

struct state {
    uint64_t a, b, c, d;
};

static uint64_t rotate(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static uint64_t read_64(const uint8_t *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return le64toh(value);
}

static void mix(struct state *s, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        s->a += s->b;
        s->b = rotate(s->b, 13) ^ s->a;
        s->a = rotate(s->a, 32);
        s->c += s->d;
        s->d = rotate(s->d, 16) ^ s->c;
        s->a += s->d;
        s->d = rotate(s->d, 21) ^ s->a;
        s->c += s->b;
        s->b = rotate(s->b, 17) ^ s->c;
        s->c = rotate(s->c, 32);
    }
}

static void take(struct state *s, uint64_t word)
{
    s->d ^= word;
    mix(s, 2);
    s->a ^= word;
}

uint64_t siphash(const uint8_t secret[SIPHASH_SECRET_SIZE], const void *data, size_t length)
{
    const uint8_t *bytes = data;
    uint64_t low = read_64(secret), high = read_64(secret + 8);
    struct state s = {
        .a = low ^ UINT64_C(0x736f6d6570736575),
        .b = high ^ UINT64_C(0x646f72616e646f6d),
        .c = low ^ UINT64_C(0x6c7967656e657261),
        .d = high ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = length - length % 8;
    for (size_t i = 0; i < whole; i += 8) {
        take(&s, read_64(bytes + i));
    }
    uint64_t last = (uint64_t)length << 56;
    for (size_t i = whole; i < length; i++) {
        last |= (uint64_t)bytes[i] << (8 * (i - whole));
    }
    take(&s, last);
    s.c ^= 0xff;
    mix(&s, 4);
    return s.a ^ s.b ^ s.c ^ s.d;
}
