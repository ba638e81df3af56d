/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/audit.h"

static const struct pg_statement WRITE = {
    "audit_write", "INSERT INTO audit_log (actor_id, address, request_id, action, subject, detail) "
                   "VALUES (nullif($1::bigint, 0), $2::inet, $3, $4, $5, $6::jsonb)"};

enum err audit_write(struct pg *pg, const struct request *request, const struct audit_entry *entry)
{
    struct pg_params params = {0};
    pg_int(&params, request->principal.user_id);
    pg_text(&params, request_variable(request, "REMOTE_ADDR"));
    pg_text(&params, request->request_id);
    pg_text(&params, entry->action);
    pg_text(&params, entry->subject);
    pg_text(&params, entry->detail);
    return pg_query(pg, &WRITE, &params, NULL);
}
