/* SPDX-License-Identifier: Apache-2.0 */
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { V4_BITS = 32, V6_BITS = 128, WORD_SIZE = 64 };

struct address {
    uint8_t bytes[16];
    int bits; /* of the whole: 32 or 128 */
};

struct network {
    struct address address;
    int prefix;
};

/* What is not public. Of IPv6 only 2000::/3 is given out at all. */
static const char *const SPECIAL_V4[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
};
static const char *const SPECIAL_V6[] = {"2001::/23", "2001:db8::/32", "3fff::/20"};
/* Addresses that have one of IPv4 in them: that one counts. Where its bits begin. */
static const struct {
    const char *network;
    int at;
} CARRIERS[] = {{"::ffff:0:0/96", 12}, {"64:ff9b::/96", 12}, {"2002::/16", 2}};

static bool parse_address(const char *text, struct address *ret)
{
    *ret = (struct address){.bits = strchr(text, ':') ? V6_BITS : V4_BITS};
    return inet_pton(ret->bits == V6_BITS ? AF_INET6 : AF_INET, text, ret->bytes) == 1;
}

static bool parse_network(const char *text, size_t length, struct network *ret)
{
    char word[WORD_SIZE], *slash, *end;
    if (length == 0 || length >= sizeof(word)) {
        return false;
    }
    memcpy(word, text, length);
    word[length] = '\0';
    if ((slash = strchr(word, '/'))) {
        *slash = '\0';
    }
    if (!parse_address(word, &ret->address)) {
        return false;
    }
    ret->prefix = ret->address.bits;
    if (slash) {
        long prefix = strtol(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end || prefix > ret->address.bits) {
            return false;
        }
        ret->prefix = (int)prefix;
    }
    return true;
}

static bool contains(const struct network *network, const struct address *address)
{
    size_t whole = (size_t)network->prefix / 8;
    int rest = network->prefix % 8;
    if (network->address.bits != address->bits ||
        memcmp(network->address.bytes, address->bytes, whole) != 0) {
        return false;
    }
    unsigned mask = 0xff00u >> rest;
    return rest == 0 || ((network->address.bytes[whole] ^ address->bytes[whole]) & mask & 0xff) == 0;
}

static bool in_text(const char *text, const struct address *address)
{
    struct network network;
    return parse_network(text, strlen(text), &network) && contains(&network, address);
}

static bool is_public(const struct address *address)
{
    bool v6 = address->bits == V6_BITS;
    for (size_t i = 0; v6 && i < ARRAY_SIZE(CARRIERS); i++) {
        if (in_text(CARRIERS[i].network, address)) {
            struct address inner = {.bits = V4_BITS};
            memcpy(inner.bytes, address->bytes + CARRIERS[i].at, 4);
            return is_public(&inner);
        }
    }
    bool special = v6 && !in_text("2000::/3", address);
    for (size_t i = 0; v6 && !special && i < ARRAY_SIZE(SPECIAL_V6); i++) {
        special = in_text(SPECIAL_V6[i], address);
    }
    for (size_t i = 0; !v6 && !special && i < ARRAY_SIZE(SPECIAL_V4); i++) {
        special = in_text(SPECIAL_V4[i], address);
    }
    return !special;
}

/* The next word of a list, or NULL. */
static const char *next_word(const char *list, size_t *ret_length)
{
    list += strspn(list, " \t\r\n");
    *ret_length = strcspn(list, " \t\r\n");
    return *ret_length ? list : NULL;
}

bool network_list_valid(const char *list, const char **ret_word, size_t *ret_length)
{
    struct network network;
    size_t length;
    for (const char *word = list; (word = next_word(word, &length)); word += length) {
        if (!parse_network(word, length, &network)) {
            *ret_word = word;
            *ret_length = length;
            return false;
        }
    }
    return true;
}

static bool is_listed(const char *list, const struct address *address)
{
    struct network network;
    size_t length;
    for (const char *word = list; (word = next_word(word, &length)); word += length) {
        if (parse_network(word, length, &network) && contains(&network, address)) {
            return true;
        }
    }
    return false;
}

static bool allowed(const char *list, const char *denied, const struct address *address)
{
    struct address inner = {.bits = V4_BITS};
    bool mapped = address->bits == V6_BITS && in_text(CARRIERS[0].network, address);
    if (mapped) { /* the same by another name */
        memcpy(inner.bytes, address->bytes + CARRIERS[0].at, 4);
        address = &inner;
    }
    return !is_listed(denied, address) && (is_listed(list, address) || is_public(address));
}

bool network_allowed(const char *list, const char *denied, const struct sockaddr *address)
{
    struct address plain = {.bits = 0};
    if (address->sa_family == AF_INET) {
        plain.bits = V4_BITS;
        memcpy(plain.bytes, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        plain.bits = V6_BITS;
        memcpy(plain.bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    }
    return plain.bits && allowed(list, denied, &plain);
}

bool network_text_allowed(const char *list, const char *denied, const char *text, bool *ret_is_address)
{
    struct address address;
    *ret_is_address = parse_address(text, &address);
    return !*ret_is_address || allowed(list, denied, &address);
}
