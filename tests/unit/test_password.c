/* SPDX-License-Identifier: Apache-2.0 */
/* passwords; and the two pieces of store/ that need no server */
#include "test.h"

#include "identity/password.h"
#include "store/pg_array.h"
#include "store/redis.h"

static void a_password_matches_its_own_hash_alone(void **state)
{
    (void)state;
    struct password_hasher *hasher = password_hasher_new();
    char hash[PASSWORD_HASH_SIZE], again[PASSWORD_HASH_SIZE];
    assert_int_equal(password_hash(hasher, "correct horse", 4, hash), ERR_OK);
    assert_int_equal(password_hash(hasher, "correct horse", 4, again), ERR_OK);
    assert_int_equal(strncmp(hash, "$2b$04$", 7), 0);
    assert_int_equal(strlen(hash), 60);
    assert_string_not_equal(hash, again); /* a salt of its own */
    assert_true(password_matches(hasher, "correct horse", hash));
    assert_false(password_matches(hasher, "Correct horse", hash));
    assert_false(password_matches(hasher, "correct horse ", hash));
    assert_false(password_matches(hasher, "", hash));
    password_hasher_free(hasher);
}

static void a_known_hash_verifies(void **state)
{
    (void)state;
    struct password_hasher *hasher = password_hasher_new();
    /* A vector of OpenBSD's bcrypt that libxcrypt and others test against. */
    assert_true(
        password_matches(hasher, "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"));
    password_hasher_free(hasher);
}

static void broken_hashes_match_nothing(void **state)
{
    static const char *const HASHES[] = {
        "", "*0", "*1", "$2b$", "$2b$04$", "$2b$99$CCCCCCCCCCCCCCCCCCCCC.", "plain", "$1$x$y"};
    (void)state;
    struct password_hasher *hasher = password_hasher_new();
    for (size_t i = 0; i < ARRAY_SIZE(HASHES); i++) {
        assert_false(password_matches(hasher, "plain", HASHES[i]));
        assert_false(password_matches(hasher, "", HASHES[i]));
    }
    password_waste(hasher, "anything", 4);
    password_hasher_free(hasher);
}

static void the_cost_is_read_from_the_hash(void **state)
{
    (void)state;
    static const char HASH[] = "$2b$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    assert_true(password_is_weaker(HASH, 11));
    assert_false(password_is_weaker(HASH, 10));
    assert_false(password_is_weaker(HASH, 9));
    assert_true(password_is_weaker("$2a$10$CCCC", 4));
    assert_true(password_is_weaker("", 4));
    assert_true(password_is_weaker("$6$salt$hash", 4));
}

static void arrays_have_postgresqls_binary_form(void **state)
{
    (void)state;
    struct pg_array array;
    struct pg_params params = {0};
    pg_array_init(&array, 1000);
    pg_array_start(&array, PG_TYPE_TEXT);
    pg_array_bytes(&array, "ab", 2);
    pg_array_null(&array);
    pg_array_bytes(&array, "", 0);
    pg_array_param(&params, &array);
    static const unsigned char EXPECTED[] = {0,   0,   0,    1,    0,    0,    0, 1, 0, 0, 0, 25,
                                             0,   0,   0,    3,    0,    0,    0, 1, 0, 0, 0, 2,
                                             'a', 'b', 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0};
    assert_int_equal(params.count, 1);
    assert_int_equal(params.formats[0], 1);
    assert_int_equal(params.lengths[0], sizeof(EXPECTED));
    assert_memory_equal(params.values[0], EXPECTED, sizeof(EXPECTED));

    pg_array_start(&array, PG_TYPE_TIMESTAMPTZ);
    pg_array_time(&array, INT64_C(946684800000001)); /* a microsecond into 2000 */
    static const unsigned char ONE[] = {0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1};
    assert_memory_equal(array.buf.data + 20, ONE, sizeof(ONE));
    pg_array_free(&array);
}

static void urls_of_redis_are_checked(void **state)
{
    static const struct {
        const char *url;
        bool valid;
    } CASES[] = {
        {"", true},
        {"unix:/run/redis.sock", true},
        {"unix:///run/redis.sock?db=3", true},
        {"redis://localhost", true},
        {"redis://h:6380/2", true},
        {"redis://:pw@h", true},
        {"redis://u:p%40w@h:1/0", true},
        {"redis://u:p@w@h", true},
        {"redis://", false},
        {"redis://h:port", false},
        {"redis://h:70000", false},
        {"redis://h/x", false},
        {"redis://user@h", false},
        {"unix:relative", false},
        {"unix:/x?db=a", false},
        {"unix:/x?q=1", false},
        {"http://h", false},
        {"localhost:6379", false},
        {"rediss://h", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        const char *reason = NULL;
        if (redis_url_valid(CASES[i].url, &reason) != CASES[i].valid) {
            fail_msg("%s: %s", CASES[i].url, reason ? reason : "was taken");
        }
        if (!CASES[i].valid) {
            assert_non_null(reason);
            assert_null(strstr(reason, CASES[i].url));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_matches_its_own_hash_alone),
        cmocka_unit_test(a_known_hash_verifies),
        cmocka_unit_test(broken_hashes_match_nothing),
        cmocka_unit_test(the_cost_is_read_from_the_hash),
        cmocka_unit_test(arrays_have_postgresqls_binary_form),
        cmocka_unit_test(urls_of_redis_are_checked),
    };
    return RUN(tests);
}
