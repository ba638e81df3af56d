/* SPDX-License-Identifier: Apache-2.0 */
/*
 * THE route table. One row is one method on one path; who may call it, which pool does the work
 * and how large a body may be are columns, so that none of them can be forgotten.
 */
#include "fcgid/routes.h"

#include "analytics/cost.h"
#include "analytics/event.h"
#include "analytics/export.h"
#include "analytics/intake.h"
#include "analytics/listing.h"
#include "analytics/metric.h"
#include "analytics/query.h"
#include "analytics/report.h"
#include "analytics/series.h"
#include "analytics/summary.h"
#include "base/mem.h"
#include "fcgid/health.h"
#include "identity/account.h"
#include "identity/audit.h"
#include "identity/discovery.h"
#include "identity/mfa.h"
#include "identity/oauth.h"
#include "identity/proof.h"
#include "identity/refresh.h"
#include "identity/session.h"
#include "identity/strength.h"
#include "identity/user.h"

enum { FORM_MAX = 16 * 1024 };

#define PUBLIC ACCESS_PUBLIC
#define USER   ACCESS_USER
#define ADMIN  ACCESS_ADMIN
#define ANY    (ACCESS_USER | ACCESS_SERVICE)

#define ROUTE_OAUTH_ANSWER (ROUTE_OAUTH | ROUTE_NO_STORE)

/* clang-format off */
const struct route ROUTES[] = {
    /* method   pattern                            access  pools        body                  flags           handler */
    {"POST",   "/auth/register",                   PUBLIC, POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, account_register},
    {"POST",   "/auth/login",                      PUBLIC, POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, session_login},
    {"POST",   "/auth/login/mfa",                  PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, mfa_login},
    {"POST",   "/auth/refresh",                    PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, refresh_session},
    {"POST",   "/auth/logout",                     USER,   POOL_API,    0,                    ROUTE_NO_STORE, session_logout},
    {"GET",    "/auth/sessions",                   USER,   POOL_API,    0,                    ROUTE_NO_STORE, session_list},
    {"DELETE", "/auth/sessions/{id:text}",         USER,   POOL_API,    0,                    ROUTE_NO_STORE, session_end},
    {"GET",    "/auth/verify",                     ANY,    POOL_API,    0,                    ROUTE_NO_STORE, session_verify},
    {"GET",    "/auth/profile",                    USER,   POOL_API,    0,                    ROUTE_NO_STORE, account_profile},
    {"PUT",    "/auth/profile",                    USER,   POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, account_update},
    {"DELETE", "/auth/users/{id:int}",             USER,   POOL_API,    0,                    ROUTE_NO_STORE, account_delete},

    {"POST",   "/auth/password/strength",          PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, strength_show},
    {"POST",   "/auth/password/forgot",            PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, proof_forgot},
    {"POST",   "/auth/password/reset",             PUBLIC, POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, proof_reset},
    {"POST",   "/auth/address/verification",       USER,   POOL_API,    0,                    ROUTE_NO_STORE, proof_send_verification},
    {"POST",   "/auth/address/verify",             PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, proof_verify},
    {"POST",   "/auth/address/confirm",            PUBLIC, POOL_API,    FORM_MAX,             ROUTE_NO_STORE, proof_confirm},

    {"GET",    "/auth/mfa",                        USER,   POOL_API,    0,                    ROUTE_NO_STORE, mfa_show},
    {"POST",   "/auth/mfa/totp",                   USER,   POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, mfa_begin},
    {"POST",   "/auth/mfa/totp/confirm",           USER,   POOL_API,    FORM_MAX,             ROUTE_NO_STORE, mfa_confirm},
    {"POST",   "/auth/mfa/recovery-codes",         USER,   POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, mfa_renew_recovery},
    {"POST",   "/auth/mfa/disable",                USER,   POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, mfa_disable},

    {"GET",    "/users",                           ADMIN,  POOL_API,    0,                    ROUTE_NO_STORE, user_list},
    {"GET",    "/users/me",                        USER,   POOL_API,    0,                    ROUTE_NO_STORE, user_show_me},
    {"PATCH",  "/users/me",                        USER,   POOL_AUTH,   FORM_MAX,             ROUTE_NO_STORE, user_change_me},
    {"GET",    "/users/{id:int}",                  ANY,    POOL_API,    0,                    ROUTE_NO_STORE, user_show},
    {"PATCH",  "/users/{id:int}",                  ADMIN,  POOL_API,    FORM_MAX,             ROUTE_NO_STORE, user_change},
    {"DELETE", "/users/{id:int}",                  USER,   POOL_API,    0,                    ROUTE_NO_STORE, account_delete},
    {"DELETE", "/users/{id:int}/mfa",              ADMIN,  POOL_API,    0,                    ROUTE_NO_STORE, mfa_remove},
    {"GET",    "/admin/audit",                     ADMIN,  POOL_API,    0,                    ROUTE_NO_STORE, audit_list},

    {"POST",   "/analytics/events",                USER,   POOL_INGEST, EVENT_BATCH_BODY_MAX, ROUTE_ANY_FORM, intake_events},
    {"POST",   "/analytics/metrics/batch",         USER,   POOL_INGEST, EVENT_BATCH_BODY_MAX, 0,              intake_batch},
    {"GET",    "/analytics/metrics",               USER,   POOL_API,    0,                    ROUTE_ETAG,     metric_overview},
    {"GET",    "/analytics/summary",               USER,   POOL_API,    0,                    ROUTE_ETAG,     summary_show},
    {"GET",    "/analytics/events/by-type",        USER,   POOL_API,    0,                    ROUTE_ETAG,     series_by_type},
    {"GET",    "/analytics/query",                 USER,   POOL_API,    0,                    ROUTE_ETAG,     query_run},
    {"GET",    "/analytics/usage/{user_id:text}",  USER,   POOL_API,    0,                    ROUTE_ETAG,     metric_usage},
    {"GET",    "/analytics/costs",                 USER,   POOL_API,    0,                    ROUTE_ETAG,     cost_list},
    {"GET",    "/analytics/reports/daily",         USER,   POOL_API,    0,                    ROUTE_ETAG,     report_daily},
    {"GET",    "/analytics/events/date-range",     USER,   POOL_API,    0,                    ROUTE_ETAG,     listing_of_all},
    {"GET",    "/analytics/users/{user_id:text}/events", USER, POOL_API, 0,                   ROUTE_ETAG,     listing_of_user},
    {"GET",    "/analytics/export",                USER,   POOL_API,    0,                    ROUTE_NO_STORE, export_events},

    {"POST",   "/token",                           PUBLIC, POOL_API | POOL_AUTH, FORM_MAX,    ROUTE_OAUTH_ANSWER, oauth_token},
    {"POST",   "/oauth/revoke",                    PUBLIC, POOL_API,    FORM_MAX,             ROUTE_OAUTH_ANSWER, oauth_revoke},
    {"POST",   "/oauth/introspect",                PUBLIC, POOL_API,    FORM_MAX,             ROUTE_OAUTH_ANSWER, oauth_introspect},
    {"GET",    "/.well-known/oauth-authorization-server", PUBLIC, POOL_API, 0,                0,              discovery_metadata},
    {"GET",    "/.well-known/jwks.json",           PUBLIC, POOL_API,    0,                    0,              discovery_jwks},

    {"GET",    "/health",                          PUBLIC, POOL_API,    0,                    ROUTE_NO_STORE, health_show},
    {"GET",    "/health/live",                     PUBLIC, POOL_ANY,    0,                    ROUTE_NO_STORE, health_live},
    {"GET",    "/health/ready",                    PUBLIC, POOL_API,    0,                    ROUTE_NO_STORE, health_ready},
};
/* clang-format on */

const size_t ROUTES_COUNT = ARRAY_SIZE(ROUTES);
