/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crypto.h"
#include "base/mem.h"

static sem_t places;
static bool limited;
static _Atomic int highest_cost; /* of the hashes that are stored */

void password_limit(int64_t at_once)
{
    limited = sem_init(&places, 0, (unsigned)at_once) == 0;
}

/* A thread that hashes has a processor to itself for long. */
static void enter(void)
{
    while (limited && sem_wait(&places) != 0) {
        /* a signal came */
    }
}

static void leave(void)
{
    if (limited) {
        sem_post(&places);
    }
}

void password_note_stored(int64_t cost)
{
    atomic_store_explicit(&highest_cost, (int)cost, memory_order_relaxed);
}

/* Accounts whose hashes are of a higher cost than is set by now are not to be told from others by the time.
 */
static int64_t raise_to_stored(int64_t cost)
{
    int64_t highest = atomic_load_explicit(&highest_cost, memory_order_relaxed);
    return highest > cost ? highest : cost;
}

struct password_hasher {
    struct crypt_data scratch;
};

const char *password_check(const char *text, size_t length)
{
    (void)text;
    if (length < PASSWORD_MIN_BYTES) {
        return "must have at least 8 bytes";
    }
    return length > PASSWORD_MAX_BYTES ? "must have at most 72 bytes: bcrypt would ignore the rest" : NULL;
}

struct password_hasher *password_hasher_new(void)
{
    return mem_zalloc(1, sizeof(struct password_hasher));
}

void password_hasher_free(struct password_hasher *hasher)
{
    if (hasher) {
        crypto_wipe(hasher, sizeof(*hasher));
        free(hasher);
    }
}

/* crypt_rn() gives NULL on failure, unlike crypt(), which gives a text that looks like a hash. The
 * scratch memory is wiped, as it holds what the password expands to. */
static bool run_crypt(struct password_hasher *hasher, const char *password, const char *setting,
                      char ret_hash[PASSWORD_HASH_SIZE])
{
    enter();
    const char *hash = crypt_rn(password, setting, &hasher->scratch, sizeof(hasher->scratch));
    leave();
    bool ok = hash && strlen(hash) < PASSWORD_HASH_SIZE;
    if (ok) {
        memcpy(ret_hash, hash, strlen(hash) + 1);
    }
    crypto_wipe(&hasher->scratch, sizeof(hasher->scratch));
    return ok;
}

enum err password_hash(struct password_hasher *hasher, const char *password, int64_t cost,
                       char ret_hash[PASSWORD_HASH_SIZE])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (!crypt_gensalt_rn("$2b$", (unsigned long)cost, NULL, 0, setting, sizeof(setting))) {
        return ERR_INTERNAL;
    }
    return run_crypt(hasher, password, setting, ret_hash) ? ERR_OK : ERR_INTERNAL;
}

bool password_matches(struct password_hasher *hasher, const char *password, const char *hash)
{
    char computed[PASSWORD_HASH_SIZE];
    bool ok = run_crypt(hasher, password, hash, computed) && strlen(computed) == strlen(hash) &&
              CRYPTO_memcmp(computed, hash, strlen(hash)) == 0;
    crypto_wipe(computed, sizeof(computed));
    return ok;
}

static void waste(struct password_hasher *hasher, const char *password, int64_t cost)
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    char hash[PASSWORD_HASH_SIZE];
    snprintf(setting, sizeof(setting), "$2b$%02d$......................", (int)cost);
    (void)run_crypt(hasher, password, setting, hash);
    crypto_wipe(hash, sizeof(hash));
}

void password_waste(struct password_hasher *hasher, const char *password, int64_t cost)
{
    waste(hasher, password, raise_to_stored(cost));
}

/* crypt_checksalt() does not judge the cost, so it is read: $2b$CC$… 0 when it is not bcrypt's. */
static int64_t cost_of(const char *hash)
{
    bool is_bcrypt = strncmp(hash, "$2b$", 4) == 0 && strlen(hash) > 7 && hash[6] == '$';
    return is_bcrypt ? strtol(hash + 4, NULL, 10) : 0;
}

void password_waste_rest(struct password_hasher *hasher, const char *password, const char *hash, int64_t cost)
{
    /* Each step doubles: 2^c + 2^c + 2^(c+1) + … + 2^(cost-1) = 2^cost. */
    int64_t full = raise_to_stored(cost);
    for (int64_t c = cost_of(hash); c > 0 && c < full; c++) {
        waste(hasher, password, c);
    }
}

bool password_is_weaker(const char *hash, int64_t cost)
{
    return cost_of(hash) < cost;
}
