/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens as an attacker would make them, signed with our own key where a claim is what is wrong. */
#include "test.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "identity/keyring.h"
#include "identity/token.h"
#include "identity/token_cache.h"

enum { NOW = 1800000000, TTL = 900 };

static struct config config = {.issuer = (char[]){"https://tallygate.test"},
                               .audience = (char[]){"tallygate"},
                               .access_token_ttl_s = TTL};
static const char SESSION[] = "0190f5d2-1c3a-7b2e-8f00-000000000001";
static const char TOKEN_ID[] = "0190f5d2-1c3a-7b2e-8f00-000000000002";

struct fixture {
    struct keyring *keyring;
    struct keyring_key key;
    struct arena arena;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(1, sizeof(*fixture));
    fixture->keyring = keyring_new(&config, true);
    assert_int_equal(keyring_make(fixture->keyring), ERR_OK);
    assert_int_equal(keyring_signer(fixture->keyring, &fixture->key), ERR_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    keyring_free(fixture->keyring);
    arena_free(&fixture->arena);
    free(fixture);
    return 0;
}

/* All claims right, for the case to spoil. */
static struct json_object *good_claims(void)
{
    struct json_object *claims = json_object_new_object();
    json_add_string(claims, "iss", config.issuer);
    json_add_string(claims, "aud", config.audience);
    json_add_string(claims, "sub", "7");
    json_add_string(claims, "sid", SESSION);
    json_add_int(claims, "ws", 9);
    json_add_int(claims, "iat", NOW);
    json_add_int(claims, "nbf", NOW);
    json_add_int(claims, "exp", NOW + TTL);
    json_add_string(claims, "jti", TOKEN_ID);
    return claims;
}

static struct json_object *good_header(const char *kid)
{
    struct json_object *header = json_object_new_object();
    json_add_string(header, "alg", "ES256");
    json_add_string(header, "typ", "at+jwt");
    if (kid) {
        json_add_string(header, "kid", kid);
    }
    return header;
}

static void set_json(struct json_object *object, const char *name, const char *json)
{
    struct json_fault fault;
    struct json_object *value = NULL;
    assert_true(json_parse(json, strlen(json), &value, &fault));
    json_object_object_add(object, name, value);
}

static size_t put_part(char *at, struct json_object *part)
{
    size_t length;
    const char *text = json_text(part, &length);
    length = crypto_base64url((const uint8_t *)text, length, at);
    json_object_put(part);
    return length;
}

/* `<header>.<claims>.`; takes both. */
static char *unsigned_token(struct json_object *header, struct json_object *claims)
{
    enum { TOKEN_MAX = 20000 };
    char *token = mem_zalloc(1, TOKEN_MAX);
    size_t length = put_part(token, header);
    token[length++] = '.';
    length += put_part(token + length, claims);
    token[length] = '.';
    return token;
}

static char *signed_token(const struct fixture *fixture, struct json_object *header,
                          struct json_object *claims)
{
    uint8_t signature[CRYPTO_ES256_SIZE];
    char *token = unsigned_token(header, claims);
    size_t length = strlen(token);
    assert_true(crypto_es256_sign(fixture->key.private_pem, token, length - 1, signature));
    crypto_base64url(signature, sizeof(signature), token + length);
    return token;
}

static char *signed_by(const struct fixture *fixture, struct json_object *claims, const char *kid)
{
    return signed_token(fixture, good_header(kid), claims);
}

static enum err verify(const struct fixture *fixture, const char *token, int64_t now_s)
{
    struct token_claims claims = {.principal.user_id = 555};
    const char *reason = NULL;
    enum err e = token_verify(fixture->keyring, &config, token, now_s, &claims, &reason);
    if (e) {
        assert_non_null(reason);
        assert_int_equal(claims.principal.user_id, 555); /* untouched */
    }
    return e;
}

static void what_we_issue_we_take(void **state)
{
    struct fixture *fixture = *state;
    struct principal principal = {.user_id = 7, .workspace_id = 9};
    struct token_claims read;
    const char *token, *reason;
    uuid_v7(principal.grant_id);
    assert_int_equal(token_issue(fixture->keyring, &config, &principal, NULL, &fixture->arena, &token),
                     ERR_OK);
    int64_t now_s = clock_now_us() / USEC_PER_SEC;
    assert_int_equal(token_verify(fixture->keyring, &config, token, now_s, &read, &reason), ERR_OK);
    assert_int_equal(read.principal.user_id, 7);
    assert_int_equal(read.principal.workspace_id, 9);
    assert_memory_equal(read.principal.grant_id, principal.grant_id, 16);
    assert_true(strlen(token) < TOKEN_MAX_BYTES);

    struct keyring *other = keyring_new(&config, true); /* another installation's key */
    assert_int_equal(keyring_make(other), ERR_OK);
    assert_int_equal(token_verify(other, &config, token, now_s, &read, &reason), ERR_UNAUTHENTICATED);
    keyring_free(other);
}

static void without_keys_nobody_can_tell(void **state)
{
    struct fixture *fixture = *state;
    struct keyring *empty = keyring_new(&config, true);
    struct principal principal = {.user_id = 1, .workspace_id = 1};
    struct token_claims claims;
    const char *token, *reason;
    assert_false(keyring_is_loaded(empty));
    assert_int_equal(token_issue(empty, &config, &principal, NULL, &fixture->arena, &token), ERR_UNAVAILABLE);
    char *good = signed_by(fixture, good_claims(), fixture->key.kid);
    assert_int_equal(token_verify(empty, &config, good, NOW, &claims, &reason), ERR_UNAVAILABLE);
    free(good);
    keyring_free(empty);
}

static void times_count_to_the_second(void **state)
{
    struct fixture *fixture = *state;
    char *token = signed_by(fixture, good_claims(), fixture->key.kid);
    assert_int_equal(verify(fixture, token, NOW), ERR_OK);
    assert_int_equal(verify(fixture, token, NOW + TTL - 1), ERR_OK);
    assert_int_equal(verify(fixture, token, NOW + TTL), ERR_UNAUTHENTICATED);
    assert_int_equal(verify(fixture, token, NOW - TOKEN_CLOCK_SKEW_S), ERR_OK);
    assert_int_equal(verify(fixture, token, NOW - TOKEN_CLOCK_SKEW_S - 1), ERR_UNAUTHENTICATED);
    free(token);
}

static void each_claim_is_checked(void **state)
{
    static const struct {
        const char *claim;
        const char *value; /* JSON; NULL: left out */
    } CASES[] = {
        {"iss", NULL},
        {"iss", "\"https://evil.test\""},
        {"iss", "7"},
        {"iss", "\"\""},
        {"aud", NULL},
        {"aud", "\"other\""},
        {"aud", "[\"other\"]"},
        {"sub", NULL},
        {"sub", "\"\""},
        {"sub", "\"0\""},
        {"sub", "\"-7\""},
        {"sub", "\"7x\""},
        {"sub", "\"99999999999999999999\""},
        {"sid", NULL},
        {"sid", "\"x\""},
        {"ws", NULL},
        {"ws", "0"},
        {"ws", "-1"},
        {"ws", "\"9\""},
        {"iat", NULL},
        {"iat", "\"soon\""},
        {"iat", "1800000006"},
        {"nbf", NULL},
        {"nbf", "1800000006"},
        {"exp", NULL},
        {"exp", "\"never\""},
        {"exp", "1800000000"},
        {"exp", "0"},
        {"exp", "-1"},
        {"jti", NULL},
        {"jti", "\"\""},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct json_object *claims = good_claims();
        json_object_object_del(claims, CASES[i].claim);
        if (CASES[i].value) {
            set_json(claims, CASES[i].claim, CASES[i].value);
        }
        char *token = signed_by(fixture, claims, fixture->key.kid);
        if (verify(fixture, token, NOW) != ERR_UNAUTHENTICATED) {
            fail_msg("%s = %s was taken", CASES[i].claim, CASES[i].value ? CASES[i].value : "(missing)");
        }
        free(token);
    }
}

static void the_header_decides_nothing(void **state)
{
    struct fixture *fixture = *state;
    const char *public_pem = fixture->key.public_pem;
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned mac_length = 0;

    /* HS256 with the public key as the secret. */
    struct json_object *header = good_header(fixture->key.kid);
    json_add_string(header, "alg", "HS256");
    char *token = unsigned_token(header, good_claims());
    size_t length = strlen(token);
    assert_non_null(HMAC(EVP_sha256(), public_pem, (int)strlen(public_pem), (const uint8_t *)token,
                         length - 1, mac, &mac_length));
    crypto_base64url(mac, mac_length, token + length);
    assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
    free(token);

    static const char *const ALGORITHMS[] = {"none", "None", "ES256K", "ES384", "RS256", "", "es256"};
    for (size_t i = 0; i < ARRAY_SIZE(ALGORITHMS); i++) {
        header = good_header(fixture->key.kid);
        json_add_string(header, "alg", ALGORITHMS[i]);
        token = signed_token(fixture, header, good_claims()); /* with a signature that would be right */
        assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
        free(token);
    }
    header = good_header(fixture->key.kid);
    json_add_string(header, "alg", "none");
    token = unsigned_token(header, good_claims());
    assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
    free(token);

    static const char *const KIDS[] = {NULL, "", "another",
                                       "a-kid-that-is-longer-than-any-thumbprint-can-ever-be-00000"};
    for (size_t i = 0; i < ARRAY_SIZE(KIDS); i++) {
        token = signed_by(fixture, good_claims(), KIDS[i]);
        assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
        free(token);
    }
    header = good_header(fixture->key.kid);
    set_json(header, "crit", "[\"exp\"]");
    token = signed_token(fixture, header, good_claims());
    assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
    free(token);
}

static void only_access_tokens_are_taken(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *type;
        enum err expected;
    } CASES[] = {{"at+jwt", ERR_OK},
                 {"AT+JWT", ERR_OK},
                 {"application/at+jwt", ERR_OK},
                 {"JWT", ERR_UNAUTHENTICATED},
                 {"", ERR_UNAUTHENTICATED},
                 {"at+jwt2", ERR_UNAUTHENTICATED},
                 {"logout+jwt", ERR_UNAUTHENTICATED}};
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct json_object *header = good_header(fixture->key.kid);
        json_add_string(header, "typ", CASES[i].type);
        char *token = signed_token(fixture, header, good_claims());
        assert_int_equal(verify(fixture, token, NOW), CASES[i].expected);
        free(token);
    }
}

static void no_byte_can_be_changed(void **state)
{
    struct fixture *fixture = *state;
    char *token = signed_by(fixture, good_claims(), fixture->key.kid);
    size_t length = strlen(token);
    for (size_t i = 0; i < length; i++) {
        char was = token[i];
        token[i] = was == 'A' ? 'B' : 'A';
        if (verify(fixture, token, NOW) == ERR_OK) {
            fail_msg("byte %zu of %zu can be changed", i, length);
        }
        token[i] = was;
    }
    assert_int_equal(verify(fixture, token, NOW), ERR_OK);
    static const char *const TAILS[] = {"=", "==", ".", "..", "!", ",", "A", " "};
    for (size_t i = 0; i < ARRAY_SIZE(TAILS); i++) {
        assert_int_equal(verify(fixture, arena_printf(&fixture->arena, "%s%s", token, TAILS[i]), NOW),
                         ERR_UNAUTHENTICATED);
    }
    for (size_t cut = 0; cut < length; cut += 7) {
        char was = token[cut];
        token[cut] = '\0';
        assert_int_equal(verify(fixture, token, NOW), ERR_UNAUTHENTICATED);
        token[cut] = was;
    }
    free(token);
}

static void garbage_is_refused(void **state)
{
    static const char *const TEXTS[] = {"",
                                        ".",
                                        "..",
                                        "...",
                                        "a.b.c",
                                        "null",
                                        "e30.e30.",
                                        "e30.e30.AAAA",
                                        "\xff\xfe",
                                        " ",
                                        "W10.W10.W10",
                                        "eyJhbGciOiJFUzI1NiJ9",
                                        "eyJhbGciOiJFUzI1NiJ9.e30",
                                        "%00"};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < ARRAY_SIZE(TEXTS); i++) {
        assert_int_equal(verify(fixture, TEXTS[i], NOW), ERR_UNAUTHENTICATED);
    }
    char *huge = mem_alloc(1024 * 1024 + 1);
    memset(huge, 'A', 1024 * 1024);
    huge[1024 * 1024] = '\0';
    assert_int_equal(verify(fixture, huge, NOW), ERR_UNAUTHENTICATED);
    free(huge);
}

/* ---- the cache of verified tokens ---- */

struct cache_fixture {
    struct metrics metrics;
    struct token_cache *cache;
};

static struct cache_fixture *cache_for(const struct fixture *fixture)
{
    struct cache_fixture *made = mem_zalloc(1, sizeof(*made));
    made->cache = token_cache_new(fixture->keyring, &made->metrics);
    return made;
}

static void cache_free(struct cache_fixture *cached)
{
    token_cache_free(cached->cache);
    free(cached);
}

static enum err cached_verify(struct cache_fixture *cached, const char *token, int64_t now_s,
                              struct principal *ret_principal)
{
    const char *reason;
    return token_cache_verify(cached->cache, &config, token, now_s, ret_principal, &reason);
}

static void a_cached_token_ends_to_the_second(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fixture *cached = cache_for(fixture);
    char *token = signed_by(fixture, good_claims(), fixture->key.kid);
    struct principal principal = {0};

    assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_OK);
    assert_int_equal(cached_verify(cached, token, NOW + TTL - 1, &principal), ERR_OK);
    assert_int_equal(principal.user_id, 7);
    assert_int_equal(principal.workspace_id, 9);
    assert_int_equal(cached->metrics.token_cache_hits, 1);
    assert_int_equal(cached->metrics.token_cache_misses, 1);
    assert_int_equal(cached_verify(cached, token, NOW + TTL, &principal), ERR_UNAUTHENTICATED);
    /* and a clock that was set back makes it no better than a fresh one */
    assert_int_equal(cached_verify(cached, token, NOW - TOKEN_CLOCK_SKEW_S - 1, &principal),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_OK);
    free(token);
    cache_free(cached);
}

static void what_is_refused_is_not_cached(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fixture *cached = cache_for(fixture);
    char *token = signed_by(fixture, good_claims(), fixture->key.kid);
    struct principal principal = {0};

    assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_OK);
    for (size_t i = 0; token[i]; i++) { /* any change makes another token */
        char before = token[i];
        token[i] = before == 'A' ? 'B' : 'A';
        assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_UNAUTHENTICATED);
        assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_UNAUTHENTICATED);
        token[i] = before;
    }
    assert_int_equal(cached->metrics.token_cache_hits, 0);
    free(token);
    cache_free(cached);
}

static void another_key_voids_the_cache(void **state)
{
    struct fixture *fixture = *state;
    struct cache_fixture *cached = cache_for(fixture);
    char *token = signed_by(fixture, good_claims(), fixture->key.kid);
    struct principal principal = {0};

    assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_OK);
    assert_int_equal(keyring_make(fixture->keyring), ERR_OK);
    assert_int_equal(cached_verify(cached, token, NOW, &principal), ERR_UNAUTHENTICATED);
    free(token);
    cache_free(cached);
}

/* Many more tokens than there are places: each is still read as its own. */
static void a_full_cache_mixes_nobody_up(void **state)
{
    enum { TOKENS = 4500, ROUNDS = 2 };
    struct fixture *fixture = *state;
    struct cache_fixture *cached = cache_for(fixture);
    char **tokens = mem_zalloc(TOKENS, sizeof(*tokens));
    for (int i = 0; i < TOKENS; i++) {
        char sub[16];
        struct json_object *claims = good_claims();
        snprintf(sub, sizeof(sub), "%d", i + 1);
        json_object_object_del(claims, "sub");
        json_add_string(claims, "sub", sub);
        tokens[i] = signed_by(fixture, claims, fixture->key.kid);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < TOKENS; i++) {
            struct principal principal = {0};
            assert_int_equal(cached_verify(cached, tokens[i], NOW, &principal), ERR_OK);
            assert_int_equal(principal.user_id, i + 1);
        }
    }
    for (int i = 0; i < TOKENS; i++) {
        free(tokens[i]);
    }
    free(tokens);
    cache_free(cached);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_we_issue_we_take, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_keys_nobody_can_tell, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_count_to_the_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_claim_is_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_header_decides_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_access_tokens_are_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_byte_can_be_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cached_token_ends_to_the_second, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_refused_is_not_cached, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_key_voids_the_cache, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_cache_mixes_nobody_up, set_up, tear_down),
    };
    return RUN(tests);
}
