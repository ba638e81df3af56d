/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ES256 keys that sign and verify access tokens. They lie in signing_keys, the private part
 * sealed with a key derived from the master secret, so every host of an installation has the same
 * ones. The newest signs; all verify. A worker holds them in memory: its housekeeper loads them,
 * its request threads only read.
 */
#ifndef TALLYGATE_IDENTITY_KEYRING_H
#define TALLYGATE_IDENTITY_KEYRING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/config.h"
#include "base/err.h"
#include "store/pg.h"

struct keyring;

/* `config` must hold the secret and outlive the keyring. */
struct keyring *keyring_new(const struct config *config, bool with_private);
void keyring_free(struct keyring *keyring);

/* Load what the database has. Makes the first key when there is none and `with_private` was set.
 * ERR_NOT_FOUND while there is no key yet; ERR_INTERNAL (logged) when a key cannot be opened with
 * this master secret. What was loaded before stays on failure. */
enum err keyring_load(struct keyring *keyring, struct pg *pg);

/* Make a key in memory only and let it sign; for tests and tools without a database. */
enum err keyring_make(struct keyring *keyring);

/* Whether keys were ever loaded. */
bool keyring_is_loaded(struct keyring *keyring);

enum { KEYRING_PEM_SIZE = 512, KEYRING_KID_SIZE = 44 };

struct keyring_key {
    char kid[KEYRING_KID_SIZE]; /* RFC 7638 thumbprint, base64url */
    char public_pem[KEYRING_PEM_SIZE];
    char private_pem[KEYRING_PEM_SIZE]; /* "" when loaded without */
};

/* Grows whenever the keys become others; 0 while none is loaded. */
uint64_t keyring_generation(struct keyring *keyring);

/* Copy out the key that signs. ERR_UNAVAILABLE while none is loaded. Wipe the copy after use. */
enum err keyring_signer(struct keyring *keyring, struct keyring_key *ret_key);
/* Copy out the public part of the key `kid`: ERR_NOT_FOUND when it is not ours. */
enum err keyring_find(struct keyring *keyring, const char *kid, struct keyring_key *ret_key);

#endif
