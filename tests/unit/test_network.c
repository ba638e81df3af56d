/* SPDX-License-Identifier: Apache-2.0 */
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "test.h"

static bool allowed(const char *list, const char *denied, const char *text)
{
    bool is_address;
    bool may = network_text_allowed(list, denied, text, &is_address);
    assert_true(is_address);
    return may;
}

static void test_public_and_special(void **state)
{
    static const char *const PUBLIC[] = {
        "1.1.1.1",        "9.255.255.255",  "11.0.0.0",        "100.63.255.255",  "100.128.0.0",
        "172.15.255.255", "172.32.0.0",     "192.167.255.255", "223.255.255.255", "2606:4700::1111",
        "2a00::1",        "::ffff:1.1.1.1", "64:ff9b::101:101"};
    static const char *const SPECIAL[] = {"0.0.0.0",
                                          "10.0.0.0",
                                          "10.255.255.255",
                                          "100.64.0.0",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "169.254.0.1",
                                          "172.16.0.0",
                                          "172.31.255.255",
                                          "192.0.0.1",
                                          "192.168.255.255",
                                          "198.19.255.255",
                                          "224.0.0.0",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "fe80::1",
                                          "fc00::1",
                                          "ff02::1",
                                          "2001:db8::1",
                                          "2001::1",
                                          "::ffff:10.0.0.1",
                                          "64:ff9b::a00:1",
                                          "2002:a00:1::1",
                                          "::ffff:0:10.0.0.1",
                                          "100::1",
                                          "4000::1"};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(PUBLIC); i++) {
        if (!allowed("", "", PUBLIC[i])) {
            fail_msg("%s is public", PUBLIC[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_SIZE(SPECIAL); i++) {
        if (allowed("", "", SPECIAL[i])) {
            fail_msg("%s is not public", SPECIAL[i]);
        }
    }
}

static void test_lists(void **state)
{
    (void)state;
    assert_true(allowed("10.1.0.0/16 ::1", "", "10.1.255.1"));
    assert_false(allowed("10.1.0.0/16 ::1", "", "10.2.0.1"));
    assert_true(allowed("10.1.0.0/16\n  ::1", "", "::1"));
    assert_true(allowed("10.1.0.0/16", "", "::ffff:10.1.2.3")); /* the same by another name */
    assert_true(allowed("10.0.0.0/9", "", "10.127.0.1"));
    assert_false(allowed("10.0.0.0/9", "", "10.128.0.1"));
    assert_true(allowed("0.0.0.0/0", "", "127.0.0.1"));
    assert_false(allowed("0.0.0.0/0", "", "::1"));
    assert_false(allowed("", "1.1.0.0/16", "1.1.1.1"));
    assert_false(allowed("1.1.1.1", "1.1.0.0/16", "1.1.1.1")); /* denying counts more */
    assert_false(allowed("", "1.1.0.0/16", "::ffff:1.1.1.1"));
}

static void test_words(void **state)
{
    static const char *const WRONG[] = {"10.0.0.0/33", "::/129",      "10.0.0",
                                        "10.0.0.0/",   "10.0.0.0/-1", "10.0.0.0/8x",
                                        "example.org", "1.2.3.4/ 8",  "[::1]"};
    const char *word;
    size_t length;
    (void)state;
    assert_true(network_list_valid("", &word, &length));
    assert_true(network_list_valid(" 10.0.0.0/8\t::/0 1.2.3.4 ", &word, &length));
    for (size_t i = 0; i < ARRAY_SIZE(WRONG); i++) {
        if (network_list_valid(WRONG[i], &word, &length)) {
            fail_msg("%s is no network", WRONG[i]);
        }
    }
    assert_false(network_list_valid("10.0.0.0/8 x", &word, &length));
    assert_int_equal(length, 1);
    assert_int_equal(*word, 'x');
}

static void test_sockets(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x01010101)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr local = {.sa_family = AF_UNIX};
    (void)state;
    assert_true(network_allowed("", "", (struct sockaddr *)&v4));
    assert_false(network_allowed("", "", (struct sockaddr *)&v6));
    assert_false(network_allowed("0.0.0.0/0 ::/0", "", &local));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_public_and_special),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
