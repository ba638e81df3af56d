/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/domain_event.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "identity/audit.h"

static const char *const TYPES[] = {"agent.executed",    "agent.failed",      "apikey.created",
                                    "apikey.revoked",    "credit.consumed",   "integration.connected",
                                    "report.generated",  "user.created",      "user.deleted",
                                    "user.login",        "user.logout",       "user.updated",
                                    "workspace.created", "workspace.deleted", "workspace.updated"};

/* Parameters of all: the event's id, its type, the id of the entry's subject, who did it or NULL, the entry's
 * detail, the request's id and its traceparent. Events of one subject get their numbers in the order in which
 * they are committed: whoever tells of it holds it to the end. What follows is workspace, platform, user,
 * data; a subject that is NULL is not told of. */
#define TELL(subject)                                                                                      \
    "WITH given (id, type, subject_id, actor, detail, request_id, trace) AS (VALUES ($1::uuid, $2::text, " \
    "$3::text, $4::text, $5::jsonb, $6::text, $7::text)), "                                                \
    "told AS MATERIALIZED (SELECT g.*, s.subject, pg_advisory_xact_lock(hashtext('event subject'), "       \
    "hashtext(s.subject)) FROM given g, LATERAL (SELECT " subject                                          \
    " AS subject) s WHERE s.subject IS NOT NULL) "                                                         \
    "INSERT INTO event_outbox (id, type, correlation_id, trace, subject, workspace_id, platform, "         \
    "user_id, data) SELECT t.id, t.type, t.request_id, t.trace, t.subject, "
#define OF_PLATFORM "FROM told t JOIN workspaces p ON p.platform "
#define OF_THIS     "'user:' || g.subject_id"
/* One that ended by its token names its user in the detail: nobody is logged in then. */
#define WHOSE(row) "coalesce(" row ".detail->>'user_id', " row ".actor)"

static const struct pg_statement OF_USER = {
    "tell_user",
    TELL(
        OF_THIS) "p.id, true, u.id::text, jsonb_build_object('id', u.id, 'email', u.email, 'username', u.username, "
                 "'full_name', u.full_name, 'role', u.role, 'is_active', u.is_active, 'created_at', " PG_UTC(
                     "u.created_at") ") " OF_PLATFORM "JOIN users u ON u.id = t.subject_id::bigint"};
static const struct pg_statement OF_GONE_USER = {
    "tell_gone_user",
    TELL(OF_THIS) "p.id, true, t.subject_id, jsonb_build_object('id', t.subject_id::bigint) "
                  "|| coalesce(t.detail, '{}') " OF_PLATFORM};
static const struct pg_statement OF_SESSION = {
    "tell_session",
    TELL("'user:' || " WHOSE("g")) "p.id, true, " WHOSE("t") ", jsonb_build_object('user_id', " WHOSE(
        "t") "::bigint, 'session_id', t.subject_id) " OF_PLATFORM};
static const struct pg_statement OF_SESSIONS = {
    "tell_sessions",
    TELL(OF_THIS) "p.id, true, t.subject_id, jsonb_build_object('user_id', t.subject_id::bigint) "
                  "|| coalesce(t.detail, '{}') " OF_PLATFORM};
static const struct pg_statement OF_WORKSPACE = {
    "tell_workspace",
    TELL(
        "'workspace:' || g.subject_id") "w.id, true, t.actor, jsonb_build_object('id', w.id, 'name', w.name, 'slug', w.slug) "
                                        "FROM told t JOIN workspaces w ON w.id = t.subject_id::bigint"};
static const struct pg_statement OF_GONE_WORKSPACE = {
    "tell_gone_workspace",
    TELL(
        "'workspace:' || g.subject_id") "t.subject_id::bigint, true, t.actor, "
                                        "jsonb_build_object('id', t.subject_id::bigint) || coalesce(t.detail, '{}') FROM told t"};
/* The detail names the workspace, which is in the event already. */
static const struct pg_statement OF_KEY = {
    "tell_key",
    TELL(
        "'apikey:' || g.subject_id") "(t.detail->>'workspace_id')::bigint, true, t.actor, "
                                     "jsonb_build_object('id', t.subject_id) || (t.detail - 'workspace_id') FROM told t"};
static const struct pg_statement TEST = {
    "tell_webhook",
    "WITH event AS (INSERT INTO domain_events (workspace_id, at, id, no, type, subject, platform, data, correlation_id, trace) "
    "SELECT $2::bigint, now(), $1::uuid, 0, 'webhook.test', 'webhook:' || $3, false, jsonb_build_object('webhook_id', $3::text), $4, $5 "
    "RETURNING *) INSERT INTO deliveries (workspace_id, webhook_id, event_of, event_at, event_id, type, subject) "
    "SELECT $2::bigint, $3::uuid, e.workspace_id, e.at, e.id, e.type, 'test:' || e.id FROM event e "
    "WHERE EXISTS (SELECT FROM webhooks WHERE workspace_id = $2::bigint AND id = $3::uuid)"};

/* Which entries are told, and as what. */
static const struct {
    const char *action;
    const char *type;
    const struct pg_statement *statement;
} TOLD[] = {
    {"apikey.created", "apikey.created", &OF_KEY},
    {"apikey.revoked", "apikey.revoked", &OF_KEY},
    {"session.ended", "user.logout", &OF_SESSION},
    {"session.logged_out", "user.logout", &OF_SESSIONS},
    {"session.opened", "user.login", &OF_SESSION},
    {"user.address_changed", "user.updated", &OF_USER},
    {"user.address_verified", "user.updated", &OF_USER},
    {"user.changed", "user.updated", &OF_USER},
    {"user.deleted", "user.deleted", &OF_GONE_USER},
    {"user.profile_changed", "user.updated", &OF_USER},
    {"user.registered", "user.created", &OF_USER},
    {"workspace.changed", "workspace.updated", &OF_WORKSPACE},
    {"workspace.created", "workspace.created", &OF_WORKSPACE},
    {"workspace.deleted", "workspace.deleted", &OF_GONE_WORKSPACE},
};

/* Of a run that has just been told to be done. */
static const struct pg_statement OF_REPORT = {
    "tell_report",
    "WITH told AS MATERIALIZED (SELECT r.*, 'report:' || r.report_id AS subject, pg_advisory_xact_lock(hashtext('event subject'), "
    "hashtext('report:' || r.report_id)) FROM report_runs r WHERE r.workspace_id = $2 AND r.id = $3::uuid) "
    "INSERT INTO event_outbox (id, type, trace, subject, workspace_id, platform, user_id, data) "
    "SELECT $1::uuid, 'report.generated', $4, t.subject, t.workspace_id, false, t.created_by::text, "
    "jsonb_build_object('report_id', t.report_id, 'run_id', t.id, 'name', t.name, 'format', t.format, 'first_day', t.first_day, "
    "'last_day', t.first_day + t.days - 1, 'size_bytes', t.size_bytes, 'sha256', encode(t.sha256, 'hex')) FROM told t"};

static void new_id(char ret_text[UUID_TEXT_SIZE])
{
    uint8_t id[16];
    uuid_v7(id);
    uuid_format(id, ret_text);
}

enum err domain_event_tell(struct pg *pg, const struct request *request, const struct audit_entry *entry)
{
    char id[UUID_TEXT_SIZE];
    struct pg_params params = {0};
    const char *colon = strchr(entry->subject, ':');
    size_t i = 0;
    while (i < ARRAY_SIZE(TOLD) && strcmp(TOLD[i].action, entry->action) != 0) {
        i++;
    }
    if (i == ARRAY_SIZE(TOLD) || !colon) {
        return ERR_OK;
    }
    new_id(id);
    int64_t user_id = request->principal.kind == PRINCIPAL_SHELL ? 0 : request->principal.user_id;
    pg_text(&params, id);
    pg_text(&params, TOLD[i].type);
    pg_text(&params, colon + 1);
    pg_text(&params, user_id ? arena_printf(request->arena, "%lld", (long long)user_id) : NULL);
    pg_text(&params, entry->detail);
    pg_text(&params, request->request_id);
    pg_text(&params, *request->traceparent ? request->traceparent : NULL);
    return pg_query(pg, TOLD[i].statement, &params, NULL);
}

enum err domain_event_report(struct pg *pg, int64_t workspace_id, const char *run_id)
{
    char id[UUID_TEXT_SIZE], trace[TRACE_PARENT_SIZE];
    struct pg_params params = {0};
    new_id(id);
    if (trace_current()) {
        trace_place_format(trace_current(), trace);
    }
    pg_text(&params, id);
    pg_int(&params, workspace_id);
    pg_text(&params, run_id);
    pg_text(&params, trace_current() ? trace : NULL);
    return pg_query(pg, &OF_REPORT, &params, NULL);
}

enum err domain_event_test(struct pg *pg, const struct request *request, const char *webhook_id,
                           char ret_id[UUID_TEXT_SIZE])
{
    struct pg_params params = {0};
    new_id(ret_id);
    pg_text(&params, ret_id);
    pg_int(&params, request->principal.workspace_id);
    pg_text(&params, webhook_id);
    pg_text(&params, request->request_id);
    pg_text(&params, *request->traceparent ? request->traceparent : NULL);
    return pg_query(pg, &TEST, &params, NULL);
}

bool domain_event_pattern_known(const char *pattern)
{
    const char *star = strstr(pattern, ".*");
    size_t noun = star && !star[2] ? (size_t)(star - pattern) + 1 : 0; /* with its dot */
    if (strcmp(pattern, "*") == 0) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(TYPES); i++) {
        if (noun ? strncmp(TYPES[i], pattern, noun) == 0 : strcmp(TYPES[i], pattern) == 0) {
            return true;
        }
    }
    return false;
}
