/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/exposition.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

const char *const EXPOSITION_NAMES[EXPOSITION_POOLS] = {"auth", "ingest", "api", "jobd"};

void exposition_open(const char *directory, const struct metrics *ret_pools[EXPOSITION_POOLS])
{
    char path[4096];
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        snprintf(path, sizeof(path), "%s/%s.metrics", directory, EXPOSITION_NAMES[i]);
        ret_pools[i] = metrics_open(path);
    }
}

int64_t exposition_gauge(const struct metrics *metrics, size_t offset)
{
    int64_t sum = 0;
    for (size_t i = 0; i < METRICS_SEATS; i++) {
        const struct metrics_seat *seat = &metrics->seats[i];
        pid_t pid = (pid_t)atomic_load(&seat->pid);
        if (pid && kill(pid, 0) == 0) {
            sum += atomic_load((const _Atomic int64_t *)((const char *)seat + offset));
        }
    }
    return sum;
}

static uint64_t total(const struct metrics_histogram *histogram)
{
    uint64_t n = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        n += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
    }
    return n;
}

uint64_t exposition_answers(const struct metrics *metrics, int least)
{
    uint64_t n = 0;
    for (size_t row = 0; row < METRICS_ROUTES && *metrics->routes[row]; row++) {
        for (size_t column = 0; column < METRICS_STATUSES; column++) {
            n += METRICS_STATUS[column] >= least ? total(&metrics->requests_us[row][column]) : 0;
        }
    }
    return n;
}

static void describe(struct buf *text, const char *name, const char *type, const char *unit, const char *help)
{
    buf_printf(text, "# TYPE %s %s\n", name, type);
    if (unit) {
        buf_printf(text, "# UNIT %s %s\n", name, unit);
    }
    buf_printf(text, "# HELP %s %s\n", name, help);
}

/* ---- histograms ---- */

/* `scale` is how many of what is counted make one of the unit that is told. */
static void put_histogram(struct buf *text, const char *name, const char *labels,
                          const struct metrics_histogram *histogram,
                          const int64_t bounds[METRICS_BUCKETS - 1], double scale)
{
    uint64_t n = 0;
    for (size_t i = 0; i < METRICS_BUCKETS; i++) {
        char bound[32] = "+Inf";
        n += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        if (i < METRICS_BUCKETS - 1) {
            double value = (double)bounds[i] / scale;
            snprintf(bound, sizeof(bound), "%.10g%s", value, value == (double)(int64_t)value ? ".0" : "");
        }
        buf_printf(text, "%s_bucket{%s,le=\"%s\"} %" PRIu64 "\n", name, labels, bound, n);
    }
    uint64_t sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    buf_printf(text, "%s_count{%s} %" PRIu64 "\n%s_sum{%s} %.6f\n", name, labels, n, name, labels,
               (double)sum / scale);
}

/* A row is "METHOD pattern", or "none". */
static void request_labels(const struct metrics *metrics, size_t row, size_t column, const char *pool,
                           char *ret_labels, size_t size)
{
    const char *name = metrics->routes[row];
    const char *blank = strchr(name, ' ');
    char status[16] = "other";
    if (METRICS_STATUS[column]) {
        snprintf(status, sizeof(status), "%d", METRICS_STATUS[column]);
    }
    snprintf(ret_labels, size, "method=\"%.*s\",route=\"%s\",status_code=\"%s\",service=\"%s\"",
             blank ? (int)(blank - name) : 5, blank ? name : "other", blank ? blank + 1 : name, status, pool);
}

/* Only what occurred: the whole table has thousands of series. `put` writes one. */
static void each_request(const struct metrics *const pools[EXPOSITION_POOLS], struct buf *text,
                         void (*put)(struct buf *text, const char *labels,
                                     const struct metrics_histogram *histogram))
{
    char labels[256];
    for (size_t i = 0; i < EXPOSITION_HTTP; i++) {
        for (size_t row = 0; pools[i] && row < METRICS_ROUTES && *pools[i]->routes[row]; row++) {
            for (size_t column = 0; column < METRICS_STATUSES; column++) {
                const struct metrics_histogram *histogram = &pools[i]->requests_us[row][column];
                if (total(histogram)) {
                    request_labels(pools[i], row, column, EXPOSITION_NAMES[i], labels, sizeof(labels));
                    put(text, labels, histogram);
                }
            }
        }
    }
}

static void put_duration(struct buf *text, const char *labels, const struct metrics_histogram *histogram)
{
    put_histogram(text, "http_request_duration_seconds", labels, histogram, METRICS_TIMES_US,
                  (double)USEC_PER_SEC);
}

static void put_count(struct buf *text, const char *labels, const struct metrics_histogram *histogram)
{
    buf_printf(text, "http_requests_total{%s} %" PRIu64 "\n", labels, total(histogram));
}

/* ---- jobs ---- */

static const struct {
    int status; /* under which it is counted */
    const char *name;
} JOB_OUTCOMES[] = {{200, "done"}, {503, "retried"}, {500, "dead"}};

/* `put` writes one type with one outcome. */
static void each_job(const struct metrics *jobd, struct buf *text,
                     void (*put)(struct buf *text, const char *labels,
                                 const struct metrics_histogram *histogram))
{
    char labels[160];
    for (size_t row = 1; jobd && row < METRICS_ROUTES && *jobd->routes[row]; row++) {
        const char *type = strchr(jobd->routes[row], ' ');
        for (size_t column = 1; type && column < METRICS_STATUSES && METRICS_STATUS[column]; column++) {
            const struct metrics_histogram *histogram = &jobd->requests_us[row][column];
            for (size_t i = 0; i < ARRAY_SIZE(JOB_OUTCOMES); i++) {
                if (METRICS_STATUS[column] == JOB_OUTCOMES[i].status && total(histogram)) {
                    snprintf(labels, sizeof(labels), "service=\"jobd\",job_type=\"%s\",status=\"%s\"",
                             type + 1, JOB_OUTCOMES[i].name);
                    put(text, labels, histogram);
                }
            }
        }
    }
}

static void put_job_count(struct buf *text, const char *labels, const struct metrics_histogram *histogram)
{
    buf_printf(text, "background_jobs_total{%s} %" PRIu64 "\n", labels, total(histogram));
}

static void put_job_duration(struct buf *text, const char *labels, const struct metrics_histogram *histogram)
{
    put_histogram(text, "background_job_duration_seconds", labels, histogram, METRICS_TIMES_US,
                  (double)USEC_PER_SEC);
}

/* ---- single numbers ---- */

/* A number that each pool has; in the order of the text. */
static const struct number {
    const char *name; /* of the family */
    const char *labels;
    const char *help; /* NULL: of the family above */
    size_t offset;
} COUNTERS[] = {
    {"workers_replaced", "", "Workers that died and were started again.",
     offsetof(struct metrics, workers_replaced)},
    {"events_recorded", "", "Events that were acknowledged as recorded.",
     offsetof(struct metrics, events_recorded)},
    {"events_duplicate", "", "Events that were answered as duplicates.",
     offsetof(struct metrics, events_duplicate)},
    {"token_cache_lookups", ",result=\"hit\"",
     "Access tokens, by whether a worker knew them from an earlier request.",
     offsetof(struct metrics, token_cache_hits)},
    {"token_cache_lookups", ",result=\"miss\"", NULL, offsetof(struct metrics, token_cache_misses)},
    {"answer_cache_lookups", ",result=\"process\"", "Answers with figures, by who had kept them.",
     offsetof(struct metrics, answer_cache_hits_process)},
    {"answer_cache_lookups", ",result=\"redis\"", NULL, offsetof(struct metrics, answer_cache_hits_redis)},
    {"answer_cache_lookups", ",result=\"miss\"", NULL, offsetof(struct metrics, answer_cache_misses)},
    {"rate_limited_requests", "", "Requests that were refused as too many.",
     offsetof(struct metrics, rate_limited)},
    {"logins", ",result=\"opened\"", "Attempts to log in with a password.",
     offsetof(struct metrics, logins[METRICS_LOGIN_OPENED])},
    {"logins", ",result=\"code_required\"", NULL, offsetof(struct metrics, logins[METRICS_LOGIN_CODE])},
    {"logins", ",result=\"refused\"", NULL, offsetof(struct metrics, logins[METRICS_LOGIN_REFUSED])},
    {"logins", ",result=\"delayed\"", NULL, offsetof(struct metrics, logins[METRICS_LOGIN_DELAYED])},
    {"domain_events", "", "Domain events that were carried on.", offsetof(struct metrics, domain_events)},
    {"webhook_deliveries", ",result=\"delivered\"", "Attempts to deliver events to webhooks.",
     offsetof(struct metrics, deliveries[METRICS_DELIVERY_DONE])},
    {"webhook_deliveries", ",result=\"again\"", NULL,
     offsetof(struct metrics, deliveries[METRICS_DELIVERY_AGAIN])},
    {"webhook_deliveries", ",result=\"failed\"", NULL,
     offsetof(struct metrics, deliveries[METRICS_DELIVERY_FAILED])},
    {"database_connects", "", "Connections that were made to PostgreSQL.",
     offsetof(struct metrics, database_connects)},
    {"database_failures", "", "Statements that PostgreSQL did not answer, or gave up.",
     offsetof(struct metrics, database_failures)},
    {"trace_spans", ",result=\"sent\"", "Spans of traced requests, by what became of them.",
     offsetof(struct metrics, trace_spans_sent)},
    {"trace_spans", ",result=\"dropped\"", NULL, offsetof(struct metrics, trace_spans_dropped)},
};

/* All samples of a family stand together, so the pools go within it. */
static void put_counters(const struct metrics *const pools[EXPOSITION_POOLS], struct buf *text)
{
    for (size_t first = 0, end; first < ARRAY_SIZE(COUNTERS); first = end) {
        describe(text, COUNTERS[first].name, "counter", NULL, COUNTERS[first].help);
        for (end = first + 1; end < ARRAY_SIZE(COUNTERS) && !COUNTERS[end].help; end++) {
        }
        for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
            for (size_t k = first; pools[i] && k < end; k++) {
                const _Atomic uint64_t *at =
                    (const _Atomic uint64_t *)((const char *)pools[i] + COUNTERS[k].offset);
                buf_printf(text, "%s_total{service=\"%s\"%s} %" PRIu64 "\n", COUNTERS[k].name,
                           EXPOSITION_NAMES[i], COUNTERS[k].labels, atomic_load(at));
            }
        }
    }
}

static const struct number GAUGES[] = {
    {"workers_ready", "", "Workers that take requests.", offsetof(struct metrics_seat, ready)},
    {"active_connections", "", "Requests under way.", offsetof(struct metrics_seat, requests)},
    {"ingest_queue_events", "", "Events that wait for a commit.", offsetof(struct metrics_seat, queued)},
};

static void put_gauges(const struct metrics *const pools[EXPOSITION_POOLS], struct buf *text)
{
    for (size_t k = 0; k < ARRAY_SIZE(GAUGES); k++) {
        describe(text, GAUGES[k].name, "gauge", NULL, GAUGES[k].help);
        for (size_t i = 0; i < EXPOSITION_POOLS;
             i++) { /* also of one that was never started, so that it is missed */
            buf_printf(text, "%s{service=\"%s\"} %" PRId64 "\n", GAUGES[k].name, EXPOSITION_NAMES[i],
                       pools[i] ? exposition_gauge(pools[i], GAUGES[k].offset) : INT64_C(0));
        }
    }
}

/* Resident memory of a process, from its own account of it; 0 when it is gone. */
static int64_t resident_bytes(pid_t pid)
{
    char path[64];
    long long pages = 0;
    snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    if (fscanf(file, "%*s %lld", &pages) != 1) {
        pages = 0;
    }
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static void put_processes(const struct metrics *const pools[EXPOSITION_POOLS], struct buf *text)
{
    describe(text, "workers_resident_memory_bytes", "gauge", "bytes",
             "Resident memory of the workers together; what they share counts for each.");
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        int64_t bytes = 0;
        for (size_t k = 0; pools[i] && k < METRICS_SEATS; k++) {
            pid_t pid = (pid_t)atomic_load(&pools[i]->seats[k].pid);
            bytes += pid ? resident_bytes(pid) : 0;
        }
        if (pools[i]) {
            buf_printf(text, "workers_resident_memory_bytes{service=\"%s\"} %" PRId64 "\n",
                       EXPOSITION_NAMES[i], bytes);
        }
    }
    describe(text, "workers_cpu_seconds", "counter", "seconds",
             "Processor time that the workers used, also those that are gone.");
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        if (pools[i]) {
            buf_printf(text, "workers_cpu_seconds_total{service=\"%s\"} %.6f\n", EXPOSITION_NAMES[i],
                       (double)atomic_load(&pools[i]->cpu_us) / (double)USEC_PER_SEC);
        }
    }
    describe(text, "pool_start_time_seconds", "gauge", "seconds", "When the pool was started, as Unix time.");
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        if (pools[i]) {
            buf_printf(text, "pool_start_time_seconds{service=\"%s\"} %.6f\n", EXPOSITION_NAMES[i],
                       (double)atomic_load(&pools[i]->started_us) / (double)USEC_PER_SEC);
        }
    }
}

void exposition_write(const struct metrics *const pools[EXPOSITION_POOLS], struct legacy *legacy,
                      struct buf *text)
{
    describe(text, "tallygate_build", "info", NULL, "What runs.");
    buf_printf(text, "tallygate_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
    describe(text, "http_request_duration_seconds", "histogram", "seconds",
             "From the request's arrival at a worker to its answer.");
    each_request(pools, text, put_duration);
    describe(text, "http_requests", "counter", NULL, "Requests that were answered.");
    each_request(pools, text, put_count);
    put_counters(pools, text);
    put_gauges(pools, text);
    if (pools[1]) {
        describe(text, "ingest_batch_events", "histogram", NULL, "Events in one transaction.");
        put_histogram(text, "ingest_batch_events", "service=\"ingest\"", &pools[1]->batch_events,
                      METRICS_SIZES, 1);
        describe(text, "ingest_commit_seconds", "histogram", "seconds",
                 "How long one transaction takes, commit and all.");
        put_histogram(text, "ingest_commit_seconds", "service=\"ingest\"", &pools[1]->commit_us,
                      METRICS_TIMES_US, (double)USEC_PER_SEC);
    }
    describe(text, "database_wait_seconds", "histogram", "seconds",
             "How long a thread waited for a statement of PostgreSQL, connecting and all.");
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "service=\"%s\"", EXPOSITION_NAMES[i]);
        if (pools[i]) {
            put_histogram(text, "database_wait_seconds", labels, &pools[i]->database_us, METRICS_TIMES_US,
                          (double)USEC_PER_SEC);
        }
    }
    put_processes(pools, text);
    describe(text, "background_jobs", "counter", NULL,
             "Attempts of background jobs, by type and what became of them.");
    each_job(pools[EXPOSITION_JOBD], text, put_job_count);
    describe(text, "background_job_duration_seconds", "histogram", "seconds",
             "How long an attempt of a background job took.");
    each_job(pools[EXPOSITION_JOBD], text, put_job_duration);
    describe(text, "webhook_delivery_seconds", "histogram", "seconds",
             "How long an attempt to deliver an event to a webhook took.");
    if (pools[EXPOSITION_JOBD]) {
        put_histogram(text, "webhook_delivery_seconds", "service=\"jobd\"",
                      &pools[EXPOSITION_JOBD]->delivery_us, METRICS_TIMES_US, (double)USEC_PER_SEC);
    }
    describe(text, "legacy_requests", "counter", NULL,
             "Requests of the former services' paths, by what became of them.");
    legacy_write(legacy, text);
    buf_puts(text, "# EOF\n");
}
