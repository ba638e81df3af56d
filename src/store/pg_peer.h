/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peer authentication, for root. PostgreSQL on the same host takes whoever has the system user of the role's
 * name (pg_hba.conf: local all all peer), and lets root in as nobody. So root, at a shell or in the script of
 * a package, connects as that user.
 */
#ifndef TALLYGATE_STORE_PG_PEER_H
#define TALLYGATE_STORE_PG_PEER_H

#include <stdbool.h>
#include <sys/types.h>

/* Become the system user whom the role of `url` is named after, for as long as it takes to connect. False,
 * and nothing is changed: for who is not root, a URL that leads to a network or has a password, and a role
 * without such a user. In programs of one thread: the user is that of the whole process. */
bool pg_peer_enter(const char *url);
/* Be root again. */
void pg_peer_leave(void);

/* Which user that would be, for a program that is started. False when there is none, or we are not root. */
bool pg_peer_user(const char *url, uid_t *ret_uid, gid_t *ret_gid);

#endif
