/* SPDX-License-Identifier: Apache-2.0 */
#include "jobd/handlers.h"

#include <stdio.h>

#include "analytics/upkeep.h"
#include "base/clock.h"
#include "base/mem.h"
#include "identity/account.h"
#include "identity/keyring.h"
#include "identity/mail.h"
#include "identity/smtp.h"

enum { PIECE_ROWS = 5000 };

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

/* Partitions of the events ahead, and days of the jobs that are done. */
static enum err make_partitions(struct job *job)
{
    static const struct pg_statement KEEP = {"jobs_keep_days", "SELECT keep_job_days($1::int)"};
    struct pg_params params = {0};
    int64_t made;
    pg_int(&params, job->config->jobs_keep_days);
    enum err e = upkeep_make(job->config, job->pg, &made);
    enum err days = e ? e : pg_query(job->pg, &KEEP, &params, NULL);
    return days == ERR_UNAVAILABLE && !e
               ? ERR_OK
               : days; /* a backup reads them; there is tomorrow's, and the next hour */
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
    [WORK_KEYS_CHECK] = check_keys,
    [WORK_MAIL_SEND] = send_mail,
    [WORK_NOTHING] = do_nothing,
    [WORK_PARTITIONS_MAKE] = make_partitions,
    [WORK_WORKSPACES_PURGE] = purge_workspaces,
};

const struct schedule SCHEDULES[] = {
    {"keys", "17 3 * * *", "UTC", "keys.check"},
    {"partitions", "30 * * * *", "UTC", "partitions.make"},
    {"purge", "0 2 * * *", "UTC", "workspaces.purge"},
};
const size_t SCHEDULES_COUNT = ARRAY_SIZE(SCHEDULES);
/* clang-format on */
