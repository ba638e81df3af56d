/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passwords as bcrypt $2b$ hashes (libxcrypt). Hashing takes a quarter of a second of CPU by
 * design, so it runs in the auth pool only: elsewhere services.hasher is NULL.
 */
#ifndef TALLYGATE_IDENTITY_PASSWORD_H
#define TALLYGATE_IDENTITY_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    PASSWORD_MIN_BYTES = 8,
    PASSWORD_MAX_BYTES = 72, /* bcrypt reads no further */
    PASSWORD_HASH_SIZE = 64, /* 60 characters and NUL, with room */
};

struct password_hasher;

/* Tell the highest cost among the hashes that are stored: what is wasted takes as long, in all threads. */
void password_note_stored(int64_t cost);

/* A field_check for passwords that are set: what length bcrypt takes in full. */
const char *password_check(const char *text, size_t length);

/* Let so many threads of this process hash at once, from 1 on; others wait in line. Before any thread begins.
 */
void password_limit(int64_t at_once);

/* One a thread: it holds crypt's 32 KiB of scratch memory. */
struct password_hasher *password_hasher_new(void);
void password_hasher_free(struct password_hasher *hasher);

/* Hash with 2^cost rounds and a random salt. ERR_INTERNAL when crypt refuses. */
enum err password_hash(struct password_hasher *hasher, const char *password, int64_t cost,
                       char ret_hash[PASSWORD_HASH_SIZE]);
/* Whether `password` is the one that `hash` was made from; constant time for the comparison. */
bool password_matches(struct password_hasher *hasher, const char *password, const char *hash);
/* Spend the time that password_matches() would, for an account that does not exist. */
void password_waste(struct password_hasher *hasher, const char *password, int64_t cost);
/* Spend what is left of that time after password_matches() against a `hash` of a lower cost. */
void password_waste_rest(struct password_hasher *hasher, const char *password, const char *hash,
                         int64_t cost);
/* Whether `hash` was made with fewer rounds than `cost` asks for, or is not bcrypt's. */
bool password_is_weaker(const char *hash, int64_t cost);

#endif
