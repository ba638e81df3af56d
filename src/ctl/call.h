/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a route does, a subcommand does through the same handler: it gets a request that no web server sent,
 * from an administrator at a shell (PRINCIPAL_SHELL), and what it answers is printed. So the rules, the audit
 * log and the mails are those of the API.
 */
#ifndef TALLYGATE_CTL_CALL_H
#define TALLYGATE_CTL_CALL_H

#include <json-c/json.h>

#include "ctl/ctl.h"
#include "http/router.h"

struct ctl_call {
    route_handler *handler;
    const char *id;           /* the parameter {id} of the path; NULL: it has none */
    const char *query;        /* the query string; NULL: none */
    struct json_object *body; /* NULL: none */
    int64_t user_id;          /* for a route about oneself, whose account; else 0 */
};

/* Carry it out. *ret_answer is what was answered, for the caller to free; NULL when it has no body. Returns
 * CTL_OK, or else what the program is to end with, after saying why on standard error. */
int ctl_call(struct ctl *ctl, const struct ctl_call *call, struct json_object **ret_answer);

/* Append `&name=value` to a query string, the value encoded; nothing for NULL. */
void ctl_query_add(struct buf *query, const char *name, const char *value);

#endif
