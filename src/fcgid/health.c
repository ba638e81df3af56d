/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgid/health.h"

#include "base/clock.h"
#include "base/json.h"
#include "identity/keyring.h"

/* Sums of a few rows: a count is never a scan. */
static const struct pg_statement TOTALS = {"health_totals",
                                           "SELECT coalesce(sum(n) FILTER (WHERE name = 'events'), 0), "
                                           "coalesce(sum(n) FILTER (WHERE name = 'users'), 0) FROM totals"};

static void add_dependency(struct arena *arena, struct json_object *dependencies, const char *name,
                           const char *status, int64_t took_us)
{
    struct json_object *item = json_object_new_object();
    json_add_string(item, "status", status);
    /* Hundredths of a millisecond; null when there was no answer. */
    json_add(item, "latency_ms",
             took_us < 0 ? NULL : json_number(arena_printf(arena, "%.2f", (double)took_us / 1000.0)));
    json_object_object_add(dependencies, name, item);
}

enum err health_show(struct request *request, struct response *response)
{
    struct services *services = request->services;
    PG_RESULT_AUTO totals = NULL;

    int64_t before_us = clock_monotonic_us();
    enum err pg = pg_query(services->pg, &TOTALS, NULL, &totals);
    int64_t pg_us = clock_monotonic_us() - before_us;

    before_us = clock_monotonic_us();
    enum err redis = redis_ping(services->redis);
    int64_t redis_us = clock_monotonic_us() - before_us;
    bool with_redis = redis_configured(services->redis);

    JSON_AUTO answer = json_object_new_object();
    bool usable = !pg && keyring_is_loaded(services->keyring);
    json_add_string(answer, "status", !usable ? "unhealthy" : with_redis && redis ? "degraded" : "healthy");
    json_add_string(answer, "version", PACKAGE_VERSION);
    json_add_int(answer, "uptime_seconds",
                 (clock_now_us() - atomic_load(&services->metrics->started_us)) / USEC_PER_SEC);
    json_add(answer, "database_connected", json_object_new_boolean(!pg));
    json_add(answer, "metrics_count", pg ? NULL : json_object_new_int64(pg_get_int(totals, 0, 0)));
    json_add(answer, "users_count", pg ? NULL : json_object_new_int64(pg_get_int(totals, 0, 1)));
    struct json_object *dependencies = json_object_new_object();
    add_dependency(request->arena, dependencies, "postgres", pg ? "down" : "up", pg ? -1 : pg_us);
    add_dependency(request->arena, dependencies, "redis",
                   !with_redis ? "disabled"
                   : redis     ? "down"
                               : "up",
                   redis ? -1 : redis_us);
    json_add(answer, "dependencies", dependencies);
    response_json(response, usable ? 200 : 503, answer);
    if (!usable) {
        response_header(response, "Retry-After", "1");
    }
    return ERR_OK;
}

static void answer_status(struct response *response, const char *status)
{
    JSON_AUTO answer = json_object_new_object();
    json_add_string(answer, "status", status);
    response_json(response, 200, answer);
}

enum err health_live(struct request *request, struct response *response)
{
    (void)request;
    answer_status(response, "alive");
    return ERR_OK;
}

enum err health_ready(struct request *request, struct response *response)
{
    struct services *services = request->services;
    PG_RESULT_AUTO totals = NULL;
    enum err e = pg_query(services->pg, &TOTALS, NULL, &totals);
    if (!e && !keyring_is_loaded(services->keyring)) {
        e = problem_say(&request->problem, ERR_UNAVAILABLE, "The signing keys are not loaded yet.");
    }
    if (!e) {
        answer_status(response, "ready");
    }
    return e;
}
