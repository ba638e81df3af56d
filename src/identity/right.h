/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an API key, or a person in a workspace, may do: looked up once, and then remembered by the process for
 * half a minute, so that the path of an event asks no database. Each right carries the ids that end it, of
 * the key and of the membership behind it: whoever takes a key or a membership away, or changes a role,
 * writes these into the revocations (by triggers, so by whatever way), which every worker has within a
 * second. A right that is found revoked is looked up anew, and then is gone or another one.
 */
#ifndef TALLYGATE_IDENTITY_RIGHT_H
#define TALLYGATE_IDENTITY_RIGHT_H

#include <stdint.h>

#include "base/err.h"
#include "http/request.h"

enum { RIGHT_SLUG_SIZE = 64 };

struct right {
    int64_t workspace_id;
    int64_t user_id;    /* of a key: who made it */
    unsigned may;       /* bits of enum permission */
    uint8_t key_id[16]; /* zero: of a person */
    uint8_t membership_id[16];
    int64_t expires_s;  /* Unix time; 0: never */
    int64_t per_second; /* a key's own limit of events; 0: the usual one */
    int64_t burst;
    char slug[RIGHT_SLUG_SIZE]; /* of the workspace, or "" */
};

/* The right of a key. ERR_NOT_FOUND when it is none of ours, or gone, or expired. */
enum err right_of_key(struct request *request, const char *key, struct right *ret_right);
/* The right of an account in a workspace, by its slug or id in decimal. `fresh` asks the database whatever is
 * remembered, for what cannot be undone. ERR_NOT_FOUND when there is no such workspace, or the account is not
 * in it. */
enum err right_of_member(struct request *request, int64_t user_id, const char *workspace, bool fresh,
                         struct right *ret_right);

#endif
