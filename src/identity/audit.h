/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: who did what, on what, from where. An entry is written in the transaction of what it tells
 * of, so the one is there exactly when the other is. What others may hear of is told with
 * it (domain_event.h).
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

/* What must happen before it in the same transaction, as a lock that its snapshot is to come after; it gets
 * the parameters of the statement. */
typedef enum err audit_before(struct pg *pg, const struct pg_params *params);

/* A statement that changes something, and what the log says of it. */
struct audit_change {
    const struct pg_statement *statement;
    const struct pg_params *params;
    bool lock_admins; /* whether the rows of all administrators are locked before everything else, so that two
                       * who leave at once do not each count on the other */
    int64_t
        lock_user_id; /* 0, or an account whose row is locked first, so that the statement's snapshot shows
                       * every session that a login opened meanwhile: opening one holds the same row */
    audit_before *before; /* NULL: nothing */
    const char *action;
    const char *kind;  /* of the subject, whose id is the first column of the result */
    int detail_column; /* the result's column that holds the detail; 0: none */
};

/* Carry it out in one transaction with its entry. A statement that returns no row changed nothing, and
 * nothing is written of it. *ret_result is to be freed also after a failure. */
enum err audit_carry_out(struct request *request, const struct audit_change *change, PGresult **ret_result);

/* The same within a transaction of the caller's. */
enum err audit_run(struct pg *pg, struct request *request, const struct audit_change *change,
                   PGresult **ret_result);

/* GET /admin/audit?actor=&action=&subject=&start=&end=: what happened, the latest first. */
enum err audit_list(struct request *request, struct response *response);

#endif
