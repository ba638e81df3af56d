/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domain events: what others may hear of, by webhooks (webhook.h) and by the platform's own figures. One is
 * told in the transaction of its cause, right after the entry of the audit log that it follows from: a table
 * says which entries are told, as what and with which data. tallygate-jobd carries them on (work/relay.h).
 * Some types of usage events are told as well, where the workspace wants it (workspace.h), by the statement
 * that records them (sql/queries/ingest.sql).
 */
#ifndef TALLYGATE_IDENTITY_DOMAIN_EVENT_H
#define TALLYGATE_IDENTITY_DOMAIN_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/request.h"
#include "store/pg.h"

struct audit_entry;

/* Tell what an entry says, when others may hear of it; in the entry's transaction. */
enum err domain_event_tell(struct pg *pg, const struct request *request, const struct audit_entry *entry);
/* Tell that a report was made: that of a run, in the transaction that ends it. */
enum err domain_event_report(struct pg *pg, int64_t workspace_id, const char *run_id);
/* Tell a webhook alone that it can be reached. *ret_id is the event's id. */
enum err domain_event_test(struct pg *pg, const struct request *request, const char *webhook_id,
                           char ret_id[UUID_TEXT_SIZE]);

/* Whether a webhook may ask for this: a type, all of a noun as in user.*, or *. */
bool domain_event_pattern_known(const char *pattern);

#endif
