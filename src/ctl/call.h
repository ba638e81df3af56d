/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a route does, a subcommand does through the same handler: it gets a request that no web server sent,
 * from an administrator at a shell (PRINCIPAL_SHELL), and what it answers is printed. So the rules, the audit
 * log and the mails are those of the API.
 */
#ifndef TALLYGATE_CTL_CALL_H
#define TALLYGATE_CTL_CALL_H

#include <json-c/json.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "http/router.h"

struct ctl_call {
    route_handler *handler;
    const char *id;           /* the parameter {id} of the path; NULL: it has none */
    const char *delivery_id;  /* the same of {delivery_id} */
    const char *run_id;       /* and of {run_id} */
    const char *query;        /* the query string; NULL: none */
    struct json_object *body; /* NULL: none */
    int64_t user_id;          /* for a route about oneself, whose account; else 0 */
    int64_t workspace_id;     /* for a route in a workspace, as whose owner it is called; else 0 */
    FILE *stream;             /* where an answer goes that is sent in pieces; NULL: it is none of these */
};

/* Carry it out. *ret_answer is what was answered, for the caller to free; NULL when it has no body. Returns
 * CTL_OK, or else what the program is to end with, after saying why on standard error. */
int ctl_call(struct ctl *ctl, const struct ctl_call *call, struct json_object **ret_answer);

/* The same for a list in pages: *ret_all has the items of all of them. */
int ctl_call_list(struct ctl *ctl, const struct ctl_call *call, struct json_object **ret_all);
/* A call in the workspace that `workspace` names, by its slug or id: sets its workspace_id, and its user_id
 * to the owner's. Else says that there is none. */
int ctl_call_enter(struct ctl *ctl, struct ctl_call *call, const char *workspace);

/* Carry it out in `workspace`, and print the answer, or `done` where there is none. */
int ctl_call_print(struct ctl *ctl, struct ctl_call *call, const char *workspace, const char *done);
/* The same about what argv[2] names by its id, in the workspace argv[1], for words that take no more. */
int ctl_call_about(struct ctl *ctl, int argc, char **argv, struct ctl_call *call, const char *command,
                   const char *done);

/* Append `&name=value` to a query string, the value encoded; nothing for NULL. */
void ctl_query_add(struct buf *query, const char *name, const char *value);

#endif
