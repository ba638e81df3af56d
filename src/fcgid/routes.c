/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE route table. One row is one method on one path; who may call it, what they must be allowed to do in the
 * workspace that it is about, which pool does the work and how large a body may be are columns, so that none
 * of them can be forgotten.
 */
#include "fcgid/routes.h"

#include "analytics/cost.h"
#include "analytics/daily.h"
#include "analytics/event.h"
#include "analytics/export.h"
#include "analytics/intake.h"
#include "analytics/listing.h"
#include "analytics/metric.h"
#include "analytics/query.h"
#include "analytics/series.h"
#include "analytics/summary.h"
#include "base/mem.h"
#include "fcgid/health.h"
#include "identity/account.h"
#include "identity/apikey.h"
#include "identity/audit.h"
#include "identity/background.h"
#include "identity/discovery.h"
#include "identity/member.h"
#include "identity/mfa.h"
#include "identity/oauth.h"
#include "identity/proof.h"
#include "identity/refresh.h"
#include "identity/role.h"
#include "identity/session.h"
#include "identity/strength.h"
#include "identity/user.h"
#include "identity/webhook.h"
#include "identity/webhook_delivery.h"
#include "identity/workspace.h"
#include "report/report.h"
#include "report/report_run.h"

enum { FORM_MAX = 16 * 1024 };

#define PUBLIC ACCESS_PUBLIC
#define USER   ACCESS_USER
#define ADMIN  ACCESS_ADMIN
#define MEMBER (ACCESS_USER | ACCESS_KEY)
#define ANY    (ACCESS_USER | ACCESS_SERVICE)

#define NONE   RATE_NONE
#define LOGIN  RATE_LOGIN
#define CALLS  RATE_CALLS
#define EVENTS RATE_EVENTS

#define ROUTE_OAUTH_ANSWER (ROUTE_OAUTH | ROUTE_NO_STORE)
#define IN_PATH            (ROUTE_IN_PATH | ROUTE_NO_STORE)
#define ONCE               (ROUTE_ONCE | ROUTE_NO_STORE)
#define ONCE_IN_PATH       (ROUTE_ONCE | ROUTE_IN_PATH | ROUTE_NO_STORE)

/* clang-format off */
const struct route ROUTES[] = {
    /* method  pattern                             access  rate    needs       pools        body                  flags              handler */
    {"POST",   "/auth/register",                  PUBLIC, LOGIN,  0,          POOL_AUTH,   FORM_MAX,             ONCE,              account_register},
    {"POST",   "/auth/login",                     PUBLIC, LOGIN,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    session_login},
    {"POST",   "/auth/login/mfa",                 PUBLIC, LOGIN,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    mfa_login},
    {"POST",   "/auth/refresh",                   PUBLIC, NONE,   0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    refresh_session},
    {"POST",   "/auth/logout",                    USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    session_logout},
    {"GET",    "/auth/sessions",                  USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    session_list},
    {"DELETE", "/auth/sessions/{id:text}",        USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    session_end},
    {"GET",    "/auth/verify",                    ANY,    CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    session_verify},
    {"GET",    "/auth/profile",                   USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    account_profile},
    {"PUT",    "/auth/profile",                   USER,   CALLS,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    account_update},
    {"DELETE", "/auth/users/{id:int}",            USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    account_delete},

    {"POST",   "/auth/password/strength",         PUBLIC, NONE,   0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    strength_show},
    {"POST",   "/auth/password/forgot",           PUBLIC, LOGIN,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    proof_forgot},
    {"POST",   "/auth/password/reset",            PUBLIC, LOGIN,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    proof_reset},
    {"POST",   "/auth/address/verification",      USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    proof_send_verification},
    {"POST",   "/auth/address/verify",            PUBLIC, LOGIN,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    proof_verify},
    {"POST",   "/auth/address/confirm",           PUBLIC, LOGIN,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    proof_confirm},

    {"GET",    "/auth/mfa",                       USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    mfa_show},
    {"POST",   "/auth/mfa/totp",                  USER,   CALLS,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    mfa_begin},
    {"POST",   "/auth/mfa/totp/confirm",          USER,   CALLS,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    mfa_confirm},
    {"POST",   "/auth/mfa/recovery-codes",        USER,   CALLS,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    mfa_renew_recovery},
    {"POST",   "/auth/mfa/disable",               USER,   CALLS,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    mfa_disable},

    {"GET",    "/users",                          ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    user_list},
    {"GET",    "/users/me",                       USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    user_show_me},
    {"PATCH",  "/users/me",                       USER,   CALLS,  0,          POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE,    user_change_me},
    {"GET",    "/users/{id:int}",                 ANY,    CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    user_show},
    {"PATCH",  "/users/{id:int}",                 ADMIN,  CALLS,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    user_change},
    {"DELETE", "/users/{id:int}",                 USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    account_delete},
    {"DELETE", "/users/{id:int}/mfa",             ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    mfa_remove},
    {"GET",    "/admin/audit",                    ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    audit_list},
    {"GET",    "/admin/jobs",                     ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    background_list},
    {"POST",   "/admin/jobs",                     ADMIN,  CALLS,  0,          POOL_API,    FORM_MAX,             ONCE,              background_put},
    {"GET",    "/admin/jobs/{id:int}",            ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    background_show},
    {"DELETE", "/admin/jobs/{id:int}",            ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    background_discard},
    {"POST",   "/admin/jobs/{id:int}/retry",      ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    background_retry},
    {"GET",    "/admin/schedules",                ADMIN,  CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    background_schedules},

    {"GET",    "/auth/api-keys",                  MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    apikey_list},
    {"POST",   "/auth/api-keys",                  MEMBER, CALLS,  MAY_READ,   POOL_API,    FORM_MAX,             ONCE,              apikey_create},
    {"DELETE", "/auth/api-keys/{id:text}",        MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    apikey_delete},

    {"GET",    "/workspaces",                     USER,   CALLS,  0,          POOL_API,    0,                    ROUTE_NO_STORE,    workspace_list},
    {"POST",   "/workspaces",                     USER,   CALLS,  0,          POOL_API,    FORM_MAX,             ONCE,              workspace_create},
    {"POST",   "/workspaces/accept",              USER,   CALLS,  0,          POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    invitation_accept},
    {"GET",    "/workspaces/{id:int}",            USER,   CALLS,  MAY_READ,   POOL_API,    0,                    IN_PATH,           workspace_show},
    {"PATCH",  "/workspaces/{id:int}",            USER,   CALLS,  MAY_MANAGE, POOL_API,    FORM_MAX,             IN_PATH,           workspace_change},
    {"DELETE", "/workspaces/{id:int}",            USER,   CALLS,  MAY_OWN,    POOL_API,    0,                    IN_PATH,           workspace_delete},
    {"POST",   "/workspaces/{id:int}/transfer",   USER,   CALLS,  MAY_OWN,    POOL_API,    FORM_MAX,             IN_PATH,           member_transfer},
    {"GET",    "/workspaces/{id:int}/members",    MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    IN_PATH,           member_list},
    {"PATCH",  "/workspaces/{id:int}/members/{user_id:int}", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    FORM_MAX,             IN_PATH,           member_change},
    {"DELETE", "/workspaces/{id:int}/members/{user_id:int}", MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    IN_PATH,           member_remove},
    {"GET",    "/workspaces/{id:int}/invitations", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    IN_PATH,           invitation_list},
    {"POST",   "/workspaces/{id:int}/invitations", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    FORM_MAX,             ONCE_IN_PATH,      invitation_create},
    {"DELETE", "/workspaces/{id:int}/invitations/{invitation_id:int}", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    IN_PATH,           invitation_delete},

    {"POST",   "/analytics/events",               MEMBER, EVENTS, MAY_WRITE,  POOL_INGEST, EVENT_BATCH_BODY_MAX, ROUTE_ANY_FORM,    intake_events},
    {"POST",   "/analytics/metrics/batch",        MEMBER, EVENTS, MAY_WRITE,  POOL_INGEST, EVENT_BATCH_BODY_MAX, 0,                 intake_batch},
    {"GET",    "/analytics/metrics",              MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        metric_overview},
    {"GET",    "/analytics/summary",              MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        summary_show},
    {"GET",    "/analytics/events/by-type",       MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        series_by_type},
    {"GET",    "/analytics/query",                MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        query_run},
    {"GET",    "/analytics/usage/{user_id:text}", MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        metric_usage},
    {"GET",    "/analytics/costs",                MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        cost_list},
    {"GET",    "/analytics/reports/daily",        MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        daily_show},
    {"GET",    "/analytics/events/date-range",    MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        listing_of_all},
    {"GET",    "/analytics/users/{user_id:text}/events", MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_ETAG,        listing_of_user},
    {"GET",    "/analytics/export",               MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    export_events},

    {"GET",    "/webhooks",                       MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_list},
    {"POST",   "/webhooks",                       MEMBER, CALLS,  MAY_MANAGE, POOL_API,    FORM_MAX,             ONCE,              webhook_create},
    {"GET",    "/webhooks/{id:text}",             MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_show},
    {"PATCH",  "/webhooks/{id:text}",             MEMBER, CALLS,  MAY_MANAGE, POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    webhook_change},
    {"DELETE", "/webhooks/{id:text}",             MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_delete},
    {"POST",   "/webhooks/{id:text}/secret",      MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_rotate},
    {"POST",   "/webhooks/{id:text}/test",        MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_test},
    {"GET",    "/webhooks/{id:text}/deliveries",  MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_delivery_list},
    {"GET",    "/webhooks/{id:text}/deliveries/{delivery_id:int}", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_delivery_show},
    {"POST",   "/webhooks/{id:text}/deliveries/{delivery_id:int}/redeliver", MEMBER, CALLS,  MAY_MANAGE, POOL_API,    0,                    ROUTE_NO_STORE,    webhook_delivery_again},

    {"GET",    "/reports",                        MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    report_list},
    {"POST",   "/reports",                        MEMBER, CALLS,  MAY_WRITE,  POOL_API,    FORM_MAX,             ONCE,              report_create},
    {"GET",    "/reports/{id:text}",              MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    report_show},
    {"PATCH",  "/reports/{id:text}",              MEMBER, CALLS,  MAY_WRITE,  POOL_API,    FORM_MAX,             ROUTE_NO_STORE,    report_change},
    {"DELETE", "/reports/{id:text}",              MEMBER, CALLS,  MAY_WRITE,  POOL_API,    0,                    ROUTE_NO_STORE,    report_delete},
    {"POST",   "/reports/{id:text}/run",          MEMBER, CALLS,  MAY_WRITE,  POOL_API,    0,                    ONCE,              report_run_start},
    {"GET",    "/reports/{id:text}/runs",         MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    report_run_list},
    {"GET",    "/reports/{id:text}/runs/{run_id:text}", MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    report_run_show},
    {"GET",    "/reports/{id:text}/runs/{run_id:text}/download", MEMBER, CALLS,  MAY_READ,   POOL_API,    0,                    ROUTE_NO_STORE,    report_run_download},

    {"POST",   "/token",                          PUBLIC, NONE,   0,          POOL_API | POOL_AUTH, FORM_MAX,             ROUTE_OAUTH_ANSWER, oauth_token},
    {"POST",   "/oauth/revoke",                   PUBLIC, NONE,   0,          POOL_API,    FORM_MAX,             ROUTE_OAUTH_ANSWER, oauth_revoke},
    {"POST",   "/oauth/introspect",               PUBLIC, NONE,   0,          POOL_API,    FORM_MAX,             ROUTE_OAUTH_ANSWER, oauth_introspect},
    {"GET",    "/.well-known/oauth-authorization-server", PUBLIC, NONE,   0,          POOL_API,    0,                    0,                 discovery_metadata},
    {"GET",    "/.well-known/jwks.json",          PUBLIC, NONE,   0,          POOL_API,    0,                    0,                 discovery_jwks},

    {"GET",    "/health",                         PUBLIC, NONE,   0,          POOL_API,    0,                    ROUTE_NO_STORE,    health_show},
    {"GET",    "/health/live",                    PUBLIC, NONE,   0,          POOL_ANY,    0,                    ROUTE_NO_STORE,    health_live},
    {"GET",    "/health/ready",                   PUBLIC, NONE,   0,          POOL_API,    0,                    ROUTE_NO_STORE,    health_ready},
};
/* clang-format on */

const size_t ROUTES_COUNT = ARRAY_SIZE(ROUTES);
