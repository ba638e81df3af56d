/* SPDX-License-Identifier: Apache-2.0 */
#include "jobd/handlers.h"

#include <stdio.h>
#include <string.h>

#include "analytics/committer.h"
#include "analytics/upkeep.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "identity/account.h"
#include "identity/keyring.h"
#include "identity/mail.h"
#include "identity/smtp.h"
#include "report/report_make.h"
#include "work/courier.h"
#include "work/relay.h"
#include "work/stream.h"

enum { PIECE_ROWS = 5000, COUNT_LIMIT_S = 20, STREAM_TIMEOUT_MS = 2000, ABOUT_SIZE = 400 };

/* Nothing: what the queue itself costs. */
static enum err do_nothing(struct job *job)
{
    (void)job;
    return ERR_OK;
}

/* Erase what closed workspaces left, in pieces. */
static enum err purge_workspaces(struct job *job)
{
    int64_t total = 0, erased = 1;
    enum err e = ERR_OK;
    while (!e && erased && !job_should_stop(job)) {
        e = account_purge_closed(job->pg, PIECE_ROWS, &erased);
        total += erased;
        job_progress(job, total, 0);
    }
    if (!e && erased) {
        snprintf(job->error, sizeof(job->error), "it was interrupted, and goes on");
        return ERR_UNAVAILABLE;
    }
    return e;
}

/* Partitions of the events ahead, and days of what was done and told. */
static enum err make_partitions(struct job *job)
{
    static const struct pg_statement KEEP = {"keep_days", "SELECT keep_days($1, $2::int)"};
    const struct {
        const char *table;
        int64_t days;
    } kept[] = {{"jobs_done", job->config->jobs_keep_days},
                {"domain_events", job->config->webhook_keep_days},
                {"deliveries_done", job->config->webhook_keep_days},
                {"report_runs", job->config->reports_keep_days},
                {"report_files", job->config->reports_keep_days}};
    int64_t made;
    enum err e = upkeep_make(job->config, job->pg, &made);
    for (size_t i = 0; !e && i < ARRAY_SIZE(kept); i++) {
        struct pg_params params = {0};
        pg_text(&params, kept[i].table);
        pg_int(&params, kept[i].days);
        e = pg_query(job->pg, &KEEP, &params, NULL);
        e = e == ERR_UNAVAILABLE ? ERR_OK : e; /* a backup reads it; there is tomorrow's, and the next hour */
    }
    for (bool more = true; !e && more && !job_should_stop(job);) {
        e = delivery_expire(job->pg, job->config->webhook_keep_days, &more);
    }
    return e;
}

struct counting {
    struct job *job;
    struct committer *committer;
};

/* What the platform counts of itself. */
static enum err count_events(void *argument, const struct relay_event *events, size_t count)
{
    const struct counting *counting = argument;
    struct job *job = counting->job;
    struct event *kept = arena_zalloc(job->arena, count, sizeof(*kept));
    struct committer_entry *entries = arena_zalloc(job->arena, count, sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        const char *user_id = events[i].user_id ? events[i].user_id : "nobody";
        const char *metadata = arena_printf(job->arena, "{\"subject\":\"%s\"}", events[i].subject);
        kept[i] = (struct event){.id = events[i].id,
                                 .id_length = strlen(events[i].id),
                                 .id_given = true,
                                 .type = events[i].type,
                                 .type_length = strlen(events[i].type),
                                 .value = "1",
                                 .value_length = 1,
                                 .user_id = user_id,
                                 .user_id_length = strlen(user_id),
                                 .metadata = metadata,
                                 .metadata_length = strlen(metadata),
                                 .occurred_us = events[i].at_us};
        event_keep(job->arena, &kept[i]);
        entries[i] = (struct committer_entry){events[i].workspace_id, &kept[i], i};
    }
    /* A second time they are duplicates. */
    return committer_sift(counting->committer, entries, count,
                          clock_monotonic_us() + COUNT_LIMIT_S * USEC_PER_SEC);
}

static enum err relay_events(struct job *job)
{
    static const struct queue_order DELIVER = {
        .type = "webhooks.deliver", .priority = 0, .unique_key = "due"};
    struct counting counting = {job, committer_new(job->config, false)};
    int64_t total = 0, count = 1;
    bool due = false;
    enum err e = ERR_OK;
    while (!e && count && !job_should_stop(job)) {
        e = relay_run(job->pg, count_events, &counting, &count);
        total += e ? 0 : count;
        arena_reset(job->arena);
        job_progress(job, total, 0);
        if (!e && count && metrics_own()) {
            atomic_fetch_add_explicit(&metrics_own()->domain_events, (uint64_t)count, memory_order_relaxed);
        }
    }
    committer_free(counting.committer);
    if (!e && total && delivery_is_due(job->pg, &due) == ERR_OK && due) {
        (void)queue_put(job->pg, &DELIVER, NULL); /* else it is seen in a second */
    }
    return e;
}

/* Until Redis has all, or is away: what it lacks waits. */
static enum err stream_events(struct job *job)
{
    struct redis *redis = redis_new(job->config->redis_url, STREAM_TIMEOUT_MS);
    bool more = redis_configured(redis) && *job->config->events_stream;
    enum err e = ERR_OK;
    while (!e && more && !job_should_stop(job)) {
        more = false;
        e = stream_run(job->pg, redis, job->config->events_stream, &more);
    }
    redis_free(redis);
    return e;
}

static enum err tell_disabled(struct pg *pg, const struct delivery_disabled *disabled)
{
    char about[ABOUT_SIZE];
    snprintf(about, sizeof(about), "%s (%s)", disabled->host ? disabled->host : "", disabled->webhook_id);
    log_warn("webhook %s of workspace %lld is disabled: %s", disabled->webhook_id,
             (long long)disabled->workspace_id,
             strcmp(disabled->reason, "gone") == 0 ? "it answered 410" : "it failed for days");
    return mail_notice_about(pg, disabled->user_id, NULL, "webhook_disabled", about);
}

static bool deliver_should_stop(void *argument)
{
    return job_should_stop(argument);
}

static void tell_progress(void *argument, int64_t attempts)
{
    job_progress(argument, attempts, 0);
}

static enum err deliver_events(struct job *job)
{
    const struct courier_options options = {.config = job->config,
                                            .pg = job->pg,
                                            .disabled = tell_disabled,
                                            .should_stop = deliver_should_stop,
                                            .progress = tell_progress,
                                            .argument = job};
    return courier_run(&options);
}

/* Bring in another key when the one that signs is as old as keys_rotate_days says. */
static enum err check_keys(struct job *job)
{
    enum { PUBLISHED_BEFORE_S = 900 };
    static const struct pg_statement NEWEST = {
        "keys_newest",
        "SELECT coalesce(extract(epoch FROM now() - max(active_from)), 0)::bigint FROM signing_keys"};
    PG_RESULT_AUTO row = NULL;
    struct keyring_key key;
    if (!job->config->keys_rotate_days) {
        return ERR_OK;
    }
    enum err e = pg_query(job->pg, &NEWEST, NULL, &row);
    if (e || pg_get_int(row, 0, 0) < job->config->keys_rotate_days * 86400) {
        return e;
    }
    e = keyring_rotate(job->config, job->pg, PUBLISHED_BEFORE_S, &key);
    crypto_wipe(&key, sizeof(key));
    return e == ERR_CONFLICT ? ERR_OK : e; /* one waits already */
}

static enum err make_report(struct job *job)
{
    uint8_t id[16];
    struct json_object *workspace = NULL, *run = NULL;
    struct json_fault fault;
    JSON_AUTO payload = NULL;
    bool fine = json_parse(job->payload, strlen(job->payload), &payload, &fault) &&
                json_object_object_get_ex(payload, "workspace_id", &workspace) &&
                json_object_object_get_ex(payload, "run_id", &run) &&
                json_object_is_type(run, json_type_string) && uuid_parse(json_object_get_string(run), id);
    if (!fine) {
        snprintf(job->error, sizeof(job->error),
                 "the payload must be {workspace_id, run_id} of a report's run");
        return ERR_INVALID;
    }
    return report_make(job->pg, json_object_get_int64(workspace), json_object_get_string(run),
                       job->attempts >= WORK_REPORT_ATTEMPTS);
}

/* Until none is due. */
static enum err send_mail(struct job *job)
{
    struct mail_sent sent = {0};
    bool more = true;
    enum err e = ERR_OK;
    if (!*job->config->smtp_url) {
        return ERR_OK;
    }
    struct smtp *smtp = smtp_new(job->config);
    if (!smtp) {
        snprintf(job->error, sizeof(job->error), "smtp_password_file cannot be read");
        return ERR_INTERNAL;
    }
    while (!e && more && !job_should_stop(job)) {
        e = mail_send(job->config, job->pg, smtp, &sent, &more);
        job_progress(job, sent.sent, 0);
    }
    smtp_free(smtp);
    return e;
}

/* clang-format off */
job_handler *const HANDLERS[WORK_TYPES] = {
    [WORK_EVENTS_RELAY] = relay_events,
    [WORK_EVENTS_STREAM] = stream_events,
    [WORK_KEYS_CHECK] = check_keys,
    [WORK_MAIL_SEND] = send_mail,
    [WORK_NOTHING] = do_nothing,
    [WORK_PARTITIONS_MAKE] = make_partitions,
    [WORK_REPORTS_MAKE] = make_report,
    [WORK_WEBHOOKS_DELIVER] = deliver_events,
    [WORK_WORKSPACES_PURGE] = purge_workspaces,
};

const struct schedule SCHEDULES[] = {
    {"keys", "17 3 * * *", "UTC", "keys.check"},
    {"partitions", "30 * * * *", "UTC", "partitions.make"},
    {"purge", "0 2 * * *", "UTC", "workspaces.purge"},
};
const size_t SCHEDULES_COUNT = ARRAY_SIZE(SCHEDULES);
/* clang-format on */
