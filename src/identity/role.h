/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a role in a workspace, and a scope of an API key, lets one do there. This table and the column `needs`
 * of the route table (fcgid/routes.c) say all of it.
 */
#ifndef TALLYGATE_IDENTITY_ROLE_H
#define TALLYGATE_IDENTITY_ROLE_H

#include <stdbool.h>

/* Bits. */
enum permission {
    MAY_READ = 1,   /* see figures, events and members */
    MAY_WRITE = 2,  /* record events */
    MAY_MANAGE = 4, /* members, invitations, all keys, the name */
    MAY_OWN = 8,    /* delete it, hand it over */
};

/* What a role may, as bits of enum permission; 0 for a word that is none. */
unsigned role_may(const char *role);
/* What a scope lets a key do; 0 for a word that is none. */
unsigned scope_may(const char *scope);
/* Whether a role is one that can be given: all but owner, which is handed over. */
bool role_can_be_given(const char *role);

#endif
