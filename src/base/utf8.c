/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

static bool is_tail(unsigned char c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_sequence(const char *s, size_t length)
{
    const unsigned char *u = (const unsigned char *)s;
    if (length == 0) {
        return 0;
    }
    if (u[0] < 0x80) {
        return 1;
    }
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        return length >= 2 && is_tail(u[1]) ? 2 : 0;
    }
    if ((u[0] & 0xf0) == 0xe0) {
        if (length < 3 || !is_tail(u[1]) || !is_tail(u[2])) {
            return 0;
        }
        bool overlong = u[0] == 0xe0 && u[1] < 0xa0;
        bool surrogate = u[0] == 0xed && u[1] > 0x9f;
        return overlong || surrogate ? 0 : 3;
    }
    if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        if (length < 4 || !is_tail(u[1]) || !is_tail(u[2]) || !is_tail(u[3])) {
            return 0;
        }
        bool overlong = u[0] == 0xf0 && u[1] < 0x90;
        bool too_high = u[0] == 0xf4 && u[1] > 0x8f;
        return overlong || too_high ? 0 : 4;
    }
    return 0;
}

bool utf8_valid(const char *s, size_t length)
{
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(s + i, length - i);
        if (n == 0) {
            return false;
        }
        i += n;
    }
    return true;
}

size_t utf8_count(const char *s, size_t length)
{
    size_t count = 0;
    for (size_t i = 0; i < length; i++) {
        count += !is_tail((unsigned char)s[i]);
    }
    return count;
}
