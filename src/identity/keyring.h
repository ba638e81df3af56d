/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ES256 keys that sign and verify access tokens. They lie in signing_keys, the private part
 * sealed with a key derived from the master secret, so every host of an installation has the same
 * ones. A worker holds them in memory: its housekeeper loads them, its request threads only read.
 *
 * Rotation. A new key is published before it signs: all that verify tokens, here and elsewhere, have loaded
 * it by the time it becomes active. Of those that are active the latest signs; all verify. A key whose
 * successor has been active for as long as a token can live is good for nothing any more, and is deleted.
 * Which key signs is a question of the clock alone, so no process needs to be told.
 */
#ifndef TALLYGATE_IDENTITY_KEYRING_H
#define TALLYGATE_IDENTITY_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/config.h"
#include "base/err.h"
#include "store/pg.h"

struct keyring;

enum { KEYRING_PEM_SIZE = 512, KEYRING_KID_SIZE = 44, KEYRING_KEYS_MAX = 16 };

struct keyring_key {
    char kid[KEYRING_KID_SIZE]; /* RFC 7638 thumbprint, base64url */
    char x[KEYRING_KID_SIZE];   /* the point, as in a JWK (RFC 7518 section 6.2) */
    char y[KEYRING_KID_SIZE];
    int64_t active_from_us; /* Unix time; it signs from here on, until the next one does */
    char public_pem[KEYRING_PEM_SIZE];
    char private_pem[KEYRING_PEM_SIZE]; /* "" when loaded without */
};

/* `config` must hold the secret and outlive the keyring. */
struct keyring *keyring_new(const struct config *config, bool with_private);
void keyring_free(struct keyring *keyring);

/* Load what the database has. Makes the first key when there is none and `with_private` was set.
 * ERR_NOT_FOUND while there is no key yet; ERR_INTERNAL (logged) when a key cannot be opened with
 * this master secret. What was loaded before stays on failure. */
enum err keyring_load(struct keyring *keyring, struct pg *pg);

/* Make the next key, which signs from `delay_s` on. ERR_CONFLICT while another waits for its turn. *ret_key
 * is the new one, without its private part. */
enum err keyring_rotate(const struct config *config, struct pg *pg, int64_t delay_s,
                        struct keyring_key *ret_key);
/* Delete keys whose tokens have all ended. *ret_deleted: how many. */
enum err keyring_prune(struct pg *pg, int64_t *ret_deleted);

/* Make a key in memory only and let it sign; for tests and tools without a database. */
enum err keyring_make(struct keyring *keyring);

/* Whether keys were ever loaded. */
bool keyring_is_loaded(struct keyring *keyring);

/* Grows whenever the keys become others; 0 while none is loaded. */
uint64_t keyring_generation(struct keyring *keyring);

/* Copy out the key that signs now. ERR_UNAVAILABLE while none is loaded. Wipe the copy after use. */
enum err keyring_signer(struct keyring *keyring, struct keyring_key *ret_key);
/* Copy out the public parts of all keys, the latest first; returns how many. */
size_t keyring_public(struct keyring *keyring, struct keyring_key ret_keys[KEYRING_KEYS_MAX]);
/* Copy out the public part of the key `kid`: ERR_NOT_FOUND when it is not ours. */
enum err keyring_find(struct keyring *keyring, const char *kid, struct keyring_key *ret_key);

#endif
