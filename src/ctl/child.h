/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of PostgreSQL's that does part of our work: pg_dump, pg_restore. It connects as `url` says, which
 * goes by its environment, as an argument could be read by everybody; and as root we let it run as the system
 * user of the role, as our own connections do (store/pg_peer.h).
 */
#ifndef TALLYGATE_CTL_CHILD_H
#define TALLYGATE_CTL_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child {
    const char *name;
    pid_t pid;
    int in;  /* write here what it reads; -1: nothing */
    int out; /* read here what it writes; -1: nothing */
};

/* argv[0] is looked for along the PATH. `url` may be NULL: it does not connect. Its messages go to our
 * standard error. False after saying why. */
bool child_start(struct child *child, const char *const *argv, const char *url, bool takes_input,
                 bool gives_output);
bool child_write(const struct child *child, const void *data, size_t length);
/* Close both ends and wait. False after saying so when it failed. */
bool child_finish(struct child *child);
/* End it, and wait. */
void child_stop(struct child *child);

#endif
