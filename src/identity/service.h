/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services: programs that ask for themselves, and not for a person. An administrator adds one and gets its
 * id and its secret, which is shown once; with the two it gets access tokens (OAuth 2 client credentials,
 * RFC 6749 section 4.4). The secret is 256 random bits, so it is stored as a SHA-256 and needs no slow hash.
 */
#ifndef TALLYGATE_IDENTITY_SERVICE_H
#define TALLYGATE_IDENTITY_SERVICE_H

#include <stdint.h>

#include "base/crypto.h"
#include "base/err.h"
#include "store/pg.h"

enum {
    SERVICE_NAME_MAX = 64,    /* characters: lower-case letters, digits, '-', '_' and '.' */
    SERVICE_SECRET_SIZE = 48, /* `tgs_`, 43 characters and NUL */
};

struct service {
    uint8_t id[16];
    char name[SERVICE_NAME_MAX + 1];
};

/* What an administrator must hand to the program; wipe it after use. */
struct service_credentials {
    char client_id[UUID_TEXT_SIZE];
    char secret[SERVICE_SECRET_SIZE];
};

bool service_name_valid(const char *name);
/* ERR_CONFLICT when the name is taken. */
enum err service_add(struct pg *pg, const char *name, struct service_credentials *ret_credentials);
/* A new secret in place of the old one, which is good for nothing at once; tokens that it got live on.
 * ERR_NOT_FOUND. */
enum err service_renew(struct pg *pg, const char *name, struct service_credentials *ret_credentials);
/* Its tokens are refused within a second. ERR_NOT_FOUND. */
enum err service_remove(struct pg *pg, const char *name);
/* Columns: id, name, created, secret's age (both PG_US); by name. */
enum err service_list(struct pg *pg, PGresult **ret_result);

/* The service whose id and secret these are; ERR_UNAUTHENTICATED when there is none. */
enum err service_authenticate(struct pg *pg, const char *client_id, const char *secret,
                              struct service *ret_service);

#endif
