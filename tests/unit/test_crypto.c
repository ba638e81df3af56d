/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/clock.h"
#include "base/crypto.h"

static void base64url_has_the_vectors_of_rfc_4648(void **state)
{
    /* Section 10, without padding. */
    static const char *const CASES[][2] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        char text[32];
        uint8_t back[32];
        size_t length = 0;
        crypto_base64url((const uint8_t *)CASES[i][0], strlen(CASES[i][0]), text);
        assert_string_equal(text, CASES[i][1]);
        assert_true(crypto_base64url_decode(text, strlen(text), back, &length));
        assert_int_equal(length, strlen(CASES[i][0]));
        assert_memory_equal(back, CASES[i][0], length);
    }
    uint8_t back[32];
    size_t length;
    assert_false(crypto_base64url_decode("Z", 1, back, &length));
    assert_false(crypto_base64url_decode("Zg==", 4, back, &length));
    assert_false(crypto_base64url_decode("Z+8_", 4, back, &length));
    assert_false(crypto_base64url_decode("Z g", 3, back, &length));
    assert_false(crypto_base64url_decode("Zh", 2, back, &length)); /* bits left over */
    assert_false(crypto_base64url_decode("Zm9", 3, back, &length));
}

static void sha256_and_hex_have_known_answers(void **state)
{
    (void)state;
    uint8_t digest[CRYPTO_SHA256_SIZE];
    char hex[2 * CRYPTO_SHA256_SIZE + 1];
    crypto_sha256("abc", 3, digest); /* FIPS 180-2, appendix B.1 */
    crypto_hex(digest, sizeof(digest), hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void derived_keys_differ_by_purpose_and_secret(void **state)
{
    (void)state;
    static const uint8_t ONE[32] = {1}, TWO[32] = {2};
    uint8_t a[CRYPTO_KEY_SIZE], b[CRYPTO_KEY_SIZE], c[CRYPTO_KEY_SIZE], again[CRYPTO_KEY_SIZE];
    assert_true(crypto_derive(ONE, 32, "seal", a));
    assert_true(crypto_derive(ONE, 32, "other", b));
    assert_true(crypto_derive(TWO, 32, "seal", c));
    assert_true(crypto_derive(ONE, 32, "seal", again));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, c, sizeof(a));
    assert_memory_equal(a, again, sizeof(a));
    /* HKDF of RFC 5869 by hand, as two HMACs: no salt, the key of its test case 3, our info. */
    static const uint8_t RFC_KEY[22] = {11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11,
                                        11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11};
    char hex[2 * CRYPTO_KEY_SIZE + 1];
    assert_true(crypto_derive(RFC_KEY, sizeof(RFC_KEY), "seal", a));
    crypto_hex(a, sizeof(a), hex);
    assert_string_equal(hex, "ef07fa547ccf81850f36a4a3a2ccd16c207aae4720abc884114a9e19d7eb3475");
}

static void a_seal_opens_only_whole_and_with_its_label(void **state)
{
    (void)state;
    static const uint8_t KEY[CRYPTO_KEY_SIZE] = {7}, OTHER[CRYPTO_KEY_SIZE] = {8};
    static const char TEXT[] = "a private key";
    uint8_t sealed[sizeof(TEXT) + CRYPTO_SEAL_OVERHEAD], twice[sizeof(sealed)];
    uint8_t opened[sizeof(TEXT)];
    assert_true(crypto_seal(KEY, "kid-1", (const uint8_t *)TEXT, sizeof(TEXT), sealed));
    assert_true(crypto_seal(KEY, "kid-1", (const uint8_t *)TEXT, sizeof(TEXT), twice));
    assert_memory_not_equal(sealed, twice, sizeof(sealed)); /* a nonce of its own */
    assert_true(crypto_open(KEY, "kid-1", sealed, sizeof(sealed), opened));
    assert_memory_equal(opened, TEXT, sizeof(TEXT));
    assert_false(crypto_open(KEY, "kid-2", sealed, sizeof(sealed), opened));
    assert_false(crypto_open(OTHER, "kid-1", sealed, sizeof(sealed), opened));
    assert_false(crypto_open(KEY, "kid-1", sealed, sizeof(sealed) - 1, opened));
    assert_false(crypto_open(KEY, "kid-1", sealed, CRYPTO_SEAL_OVERHEAD - 1, opened));
    for (size_t i = 0; i < sizeof(sealed); i++) {
        sealed[i] ^= 1;
        assert_false(crypto_open(KEY, "kid-1", sealed, sizeof(sealed), opened));
        sealed[i] ^= 1;
    }
}

static void uuids_are_of_version_7_and_sort_by_time(void **state)
{
    (void)state;
    uint8_t uuid[16], back[16];
    char text[UUID_TEXT_SIZE];
    int64_t before_ms = clock_now_us() / 1000;
    uuid_v7(uuid);
    int64_t after_ms = clock_now_us() / 1000;
    uuid_format(uuid, text);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(text[14], '7');
    assert_non_null(strchr("89ab", text[19]));
    int64_t ms = 0;
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | uuid[i];
    }
    assert_in_range(ms, before_ms, after_ms);
    assert_true(uuid_parse(text, back));
    assert_memory_equal(uuid, back, 16);
    static const char *const BAD[] = {"",
                                      "0190",
                                      "0190f5d2-1c3a-7b2e-8f00-00000000000",
                                      "0190f5d2x1c3a-7b2e-8f00-000000000001",
                                      "0190f5d2-1c3a-7b2e-8f00-00000000000g",
                                      "0190f5d2-1c3a-7b2e-8f00-0000000000012"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        assert_false(uuid_parse(BAD[i], back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64url_has_the_vectors_of_rfc_4648),
        cmocka_unit_test(sha256_and_hex_have_known_answers),
        cmocka_unit_test(derived_keys_differ_by_purpose_and_secret),
        cmocka_unit_test(a_seal_opens_only_whole_and_with_its_label),
        cmocka_unit_test(uuids_are_of_version_7_and_sort_by_time),
    };
    return RUN(tests);
}
