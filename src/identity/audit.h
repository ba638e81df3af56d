/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: who did what, on what, from where. An entry is written in the transaction of what it tells
 * of, so the one is there exactly when the other is.
 */
#ifndef TALLYGATE_IDENTITY_AUDIT_H
#define TALLYGATE_IDENTITY_AUDIT_H

#include "base/err.h"
#include "http/request.h"
#include "store/pg.h"

struct audit_entry {
    const char *action;  /* noun.what_happened */
    const char *subject; /* kind:id */
    const char *detail;  /* JSON or NULL; never a secret */
};

/* The actor, the address and the request id are those of `request`. */
enum err audit_write(struct pg *pg, const struct request *request, const struct audit_entry *entry);

#endif
