/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/utf8.h"

void place_set(struct place *place, int64_t us, const char *id)
{
    place->us = us;
    clock_format(us, place->time);
    snprintf(place->id, sizeof(place->id), "%s", id);
}

void place_params(const struct place *place, struct pg_params *params)
{
    pg_text(params, place->time);
    pg_text(params, place->id);
}

bool place_from_cursor(const char *text, size_t length, struct place *ret_place)
{
    char plain[PLACE_CURSOR_MAX + 1];
    size_t plain_length = 0;
    if (length > PLACE_CURSOR_MAX ||
        !crypto_base64url_decode(text, length, (uint8_t *)plain, &plain_length) ||
        !utf8_valid(plain, plain_length) || memchr(plain, '\0', plain_length)) {
        return false;
    }
    plain[plain_length] = '\0';
    size_t digits = strspn(plain, "0123456789");
    if (digits == 0 || digits > PLACE_DIGITS_MAX || plain[digits] != ':') {
        return false;
    }
    const char *id = plain + digits + 1;
    int64_t us = strtoll(plain, NULL, 10);
    if (!*id || strlen(id) > PLACE_ID_MAX || us > CLOCK_MAX_US) {
        return false;
    }
    place_set(ret_place, us, id);
    return true;
}

void place_put_cursor(const struct place *place, struct buf *buf)
{
    char plain[PLACE_PLAIN_MAX + 2];
    char cursor[PLACE_CURSOR_MAX + 4];
    int length = snprintf(plain, sizeof(plain), "%" PRId64 ":%s", place->us, place->id);
    crypto_base64url((const uint8_t *)plain, (size_t)length, cursor);
    buf_puts(buf, cursor);
}
