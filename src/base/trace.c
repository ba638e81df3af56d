/* SPDX-License-Identifier: Apache-2.0 */
#include "base/trace.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"

enum {
    RING_SPANS = 4096,
    BATCH_SPANS = 512,
    BODY_MAX = 4 * 1024 * 1024,
    SEND_EVERY_MS = 1000,
    RETRY_MS = 5000,
    ATTEMPTS_MAX = 3,
    CONNECT_LIMIT_MS = 2000,
    SEND_LIMIT_MS = 5000,
    LAST_LIMIT_MS = 1000, /* of all that is sent when the process ends */
    SHARE_OF = 1000000,
};

struct span {
    char trace_id[TRACE_ID_SIZE];
    char span_id[TRACE_SPAN_SIZE];
    char parent_id[TRACE_SPAN_SIZE];
    char name[TRACE_NAME_SIZE];
    enum trace_kind kind;
    int64_t begin_us; /* Unix time */
    int64_t end_us;
    bool failed;
    bool statement; /* of PostgreSQL's */
    /* of a request */
    char method[16];
    char request_id[64];
    const char *route;
    int status; /* 0: this is none */
    int64_t workspace_id;
    /* of a job */
    const char *job_type; /* NULL: this is none */
    int64_t job_id;
    int64_t job_attempts;
    /* of a call */
    char webhook_id[UUID_TEXT_SIZE]; /* "": this is none */
    int64_t call_attempts;
};

static struct {
    const char *endpoint; /* NULL: off */
    int64_t share;
    bool follow;
    const char *pool;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t sender;
    bool running;
    bool stopping;
    _Atomic int64_t stop_by_us; /* monotonic: what is not sent by then is not sent; 0: there is time */
    struct span *ring;
    size_t first;
    size_t count;
} tracing = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local const struct trace_place *current;

void trace_setup(const struct config *config, const char *pool)
{
    tracing.endpoint = *config->trace_endpoint ? config->trace_endpoint : NULL;
    tracing.share = config->trace_sample;
    tracing.follow = config->trace_follow_clients != 0;
    tracing.pool = pool;
}

bool trace_is_on(void)
{
    return tracing.endpoint != NULL;
}

/* The last 14 digits of an id are random also where its first are not (W3C Trace Context 2, section 3.3.1).
 */
static bool decide(const char *trace_id, bool wished)
{
    if (!tracing.endpoint || (tracing.follow && wished)) {
        return wished;
    }
    uint64_t random = strtoull(trace_id + 18, NULL, 16);
    return random % SHARE_OF < (uint64_t)tracing.share;
}

static bool is_hex(const char *s, size_t length)
{
    return strspn(s, "0123456789abcdef") >= length;
}

static bool all_zero(const char *s, size_t length)
{
    return strspn(s, "0") >= length;
}

/* W3C Trace Context, section 3.2: version-traceid-parentid-flags in lower-case hex; a version after
 * 00 may have more behind a further dash. */
static bool parent_valid(const char *s)
{
    enum { LENGTH = TRACE_PARENT_SIZE - 1 };
    if (strnlen(s, LENGTH + 1) < LENGTH || !is_hex(s, 2) || strncmp(s, "ff", 2) == 0) {
        return false;
    }
    bool ends = s[LENGTH] == '\0' || (strncmp(s, "00", 2) != 0 && s[LENGTH] == '-');
    return ends && s[2] == '-' && is_hex(s + 3, 32) && !all_zero(s + 3, 32) && s[35] == '-' &&
           is_hex(s + 36, 16) && !all_zero(s + 36, 16) && s[52] == '-' && is_hex(s + 53, 2);
}

void trace_place_new(const char *given, struct trace_place *ret)
{
    uint8_t random[24];
    bool wished = false;
    crypto_random(random, sizeof(random));
    random[0] |= 1; /* never all zeros */
    random[16] |= 1;
    *ret = (struct trace_place){0};
    if (given && parent_valid(given)) {
        memcpy(ret->trace_id, given + 3, TRACE_ID_SIZE - 1);
        memcpy(ret->parent_id, given + 36, TRACE_SPAN_SIZE - 1);
        wished = strchr("13579bdf", given[54]) != NULL; /* only the sampled bit is defined in version 00 */
    } else {
        crypto_hex(random, 16, ret->trace_id);
    }
    crypto_hex(random + 16, 8, ret->span_id);
    ret->sampled = decide(ret->trace_id, wished);
}

void trace_place_format(const struct trace_place *place, char ret[TRACE_PARENT_SIZE])
{
    snprintf(ret, TRACE_PARENT_SIZE, "00-%s-%s-0%d", place->trace_id, place->span_id, place->sampled);
}

const struct trace_place *trace_current(void)
{
    return current;
}

void trace_set_current(const struct trace_place *place)
{
    current = place;
}

static void count_spans(bool sent, size_t count)
{
    struct metrics *metrics = metrics_own();
    if (metrics) {
        atomic_fetch_add_explicit(sent ? &metrics->trace_spans_sent : &metrics->trace_spans_dropped, count,
                                  memory_order_relaxed);
    }
}

static void put(const struct span *span)
{
    pthread_mutex_lock(&tracing.lock);
    bool room = tracing.running && tracing.count < RING_SPANS;
    if (room) {
        tracing.ring[(tracing.first + tracing.count) % RING_SPANS] = *span;
        tracing.count++;
        if (tracing.count == BATCH_SPANS) {
            pthread_cond_signal(&tracing.changed);
        }
    }
    pthread_mutex_unlock(&tracing.lock);
    if (!room) {
        count_spans(false, 1);
    }
}

int64_t trace_begin(void)
{
    return current && current->sampled && tracing.endpoint ? clock_monotonic_us() : 0;
}

void trace_end(enum trace_kind kind, const char *name, int64_t began_us, bool failed)
{
    uint8_t id[8];
    if (!began_us || !current) {
        return;
    }
    struct span span = {.kind = kind, .failed = failed, .statement = kind == TRACE_CLIENT};
    span.end_us = clock_now_us();
    span.begin_us = span.end_us - (clock_monotonic_us() - began_us);
    crypto_random(id, sizeof(id));
    crypto_hex(id, sizeof(id), span.span_id);
    snprintf(span.trace_id, sizeof(span.trace_id), "%s", current->trace_id);
    snprintf(span.parent_id, sizeof(span.parent_id), "%s", current->span_id);
    snprintf(span.name, sizeof(span.name), "%s", name);
    put(&span);
}

/* A span that ends now and is `place` itself. */
static void set_place(struct span *span, const struct trace_place *place, int64_t duration_us)
{
    span->end_us = clock_now_us();
    span->begin_us = span->end_us - duration_us;
    snprintf(span->trace_id, sizeof(span->trace_id), "%s", place->trace_id);
    snprintf(span->span_id, sizeof(span->span_id), "%s", place->span_id);
    snprintf(span->parent_id, sizeof(span->parent_id), "%s", place->parent_id);
}

void trace_end_request(const struct trace_request *request)
{
    if (!current || !current->sampled || !tracing.endpoint) {
        return;
    }
    struct span span = {.kind = TRACE_SERVER,
                        .failed = request->status >= 500,
                        .route = request->route,
                        .status = request->status,
                        .workspace_id = request->workspace_id};
    set_place(&span, current, request->duration_us);
    snprintf(span.method, sizeof(span.method), "%s", request->method);
    snprintf(span.request_id, sizeof(span.request_id), "%s", request->request_id);
    snprintf(span.name, sizeof(span.name), "%s%s%s", span.method, request->route ? " " : "",
             request->route ? request->route : "");
    put(&span);
}

void trace_end_job(const struct trace_job *job)
{
    if (!current || !current->sampled || !tracing.endpoint) {
        return;
    }
    struct span span = {.kind = TRACE_CONSUMER,
                        .failed = job->failed,
                        .job_type = job->type,
                        .job_id = job->id,
                        .job_attempts = job->attempts};
    set_place(&span, current, clock_monotonic_us() - job->began_us);
    snprintf(span.name, sizeof(span.name), "process %s", job->type);
    put(&span);
}

void trace_end_call(const struct trace_place *place, const struct trace_call *call)
{
    if (!place->sampled || !tracing.endpoint) {
        return;
    }
    struct span span = {.kind = TRACE_CLIENT,
                        .failed = call->failed,
                        .status = call->status,
                        .call_attempts = call->attempts};
    set_place(&span, place, clock_monotonic_us() - call->began_us);
    snprintf(span.webhook_id, sizeof(span.webhook_id), "%s", call->webhook_id);
    snprintf(span.name, sizeof(span.name), "POST");
    put(&span);
}

/* ---- the protocol ---- */

static void put_text(struct buf *buf, const char *before, const char *text)
{
    buf_puts(buf, before);
    buf_put_json_string(buf, text, strlen(text));
}

static void put_attribute(struct buf *buf, bool *any, const char *key, const char *text)
{
    buf_printf(buf, "%s{\"key\":\"%s\",\"value\":", *any ? "," : "", key);
    put_text(buf, "{\"stringValue\":", text);
    buf_puts(buf, "}}");
    *any = true;
}

/* Integers of 64 bits are texts in the protocol's JSON. */
static void put_number(struct buf *buf, bool *any, const char *key, int64_t number)
{
    buf_printf(buf, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%lld\"}}", *any ? "," : "", key,
               (long long)number);
    *any = true;
}

/* Attributes are named by the semantic conventions of OpenTelemetry (HTTP, database and messaging spans). */
static void put_span(struct buf *buf, const struct span *span)
{
    bool any = false;
    buf_printf(buf, "{\"traceId\":\"%s\",\"spanId\":\"%s\",\"parentSpanId\":\"%s\",\"kind\":%d",
               span->trace_id, span->span_id, span->parent_id, (int)span->kind);
    put_text(buf, ",\"name\":", span->name);
    buf_printf(buf, ",\"startTimeUnixNano\":\"%lld000\",\"endTimeUnixNano\":\"%lld000\",\"attributes\":[",
               (long long)span->begin_us, (long long)span->end_us);
    if (*span->method) {
        put_attribute(buf, &any, "http.request.method", span->method);
        put_attribute(buf, &any, "tallygate.request_id", span->request_id);
    }
    if (span->status) {
        put_number(buf, &any, "http.response.status_code", span->status);
    }
    if (*span->webhook_id) {
        put_attribute(buf, &any, "http.request.method", "POST");
        put_attribute(buf, &any, "tallygate.webhook_id", span->webhook_id);
        put_number(buf, &any, "http.request.resend_count", span->call_attempts - 1);
    }
    if (span->route) {
        put_attribute(buf, &any, "http.route", span->route);
    }
    if (span->workspace_id) {
        put_number(buf, &any, "tallygate.workspace_id", span->workspace_id);
    }
    if (span->statement) {
        put_attribute(buf, &any, "db.system.name", "postgresql");
        put_attribute(buf, &any, "db.query.summary", span->name);
    }
    if (span->job_type) {
        char id[24];
        snprintf(id, sizeof(id), "%lld", (long long)span->job_id);
        put_attribute(buf, &any, "messaging.system", "tallygate");
        put_attribute(buf, &any, "messaging.operation.type", "process");
        put_attribute(buf, &any, "messaging.destination.name", span->job_type);
        put_attribute(buf, &any, "messaging.message.id", id);
        put_number(buf, &any, "tallygate.job_attempt", span->job_attempts);
    }
    buf_printf(buf, "],\"status\":{%s}}", span->failed ? "\"code\":2" : "");
}

static void put_batch(struct buf *buf, const struct span *spans, size_t count)
{
    bool any = false;
    buf_puts(buf, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_attribute(buf, &any, "service.name", "tallygate");
    put_attribute(buf, &any, "service.version", PACKAGE_VERSION);
    put_attribute(buf, &any, "tallygate.pool", tracing.pool);
    buf_puts(buf, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"tallygate\",\"version\":\"" PACKAGE_VERSION
                  "\"},\"spans\":[");
    for (size_t i = 0; i < count; i++) {
        buf_puts(buf, i ? "," : "");
        put_span(buf, &spans[i]);
    }
    buf_puts(buf, "]}]}]}");
}

static size_t ignore(char *data, size_t size, size_t count, void *argument)
{
    (void)data;
    (void)argument;
    return size * count;
}

/* A transfer that is under way when the process ends is given up in time. */
static int watch_end(void *argument, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    int64_t by_us = atomic_load(&tracing.stop_by_us);
    (void)argument;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return by_us && clock_monotonic_us() >= by_us;
}

enum outcome { SENT, LATER, REFUSED };

static enum outcome post(CURL *curl, const struct buf *body)
{
    long status = 0;
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->length);
    if (curl_easy_perform(curl) != CURLE_OK) {
        return LATER;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) {
        return SENT;
    }
    return status == 429 || status == 502 || status == 503 || status == 504
               ? LATER
               : REFUSED; /* as the protocol says */
}

static CURL *make_client(struct curl_slist **ret_headers)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = headers ? curl_slist_append(headers, "Expect:") : NULL;
    if (!curl || !headers) {
        abort();
    }
    curl_easy_setopt(curl, CURLOPT_URL, tracing.endpoint);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_LIMIT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)SEND_LIMIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch_end);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tallygate/" PACKAGE_VERSION);
    *ret_headers = headers;
    return curl;
}

/* ---- the thread that sends ---- */

/* Wait until a batch is full, `most_ms` are over, or it is time to stop, which it tells. */
static bool wait_for_spans(int64_t most_ms, size_t enough)
{
    struct timespec until = clock_timespec(clock_monotonic_us() + most_ms * 1000);
    int result = 0;
    pthread_mutex_lock(&tracing.lock);
    while (!tracing.stopping && tracing.count < enough && result == 0) {
        result = pthread_cond_timedwait(&tracing.changed, &tracing.lock, &until);
    }
    bool stopping = tracing.stopping;
    pthread_mutex_unlock(&tracing.lock);
    return stopping;
}

static size_t take_batch(struct span *spans)
{
    pthread_mutex_lock(&tracing.lock);
    size_t count = tracing.count < BATCH_SPANS ? tracing.count : BATCH_SPANS;
    for (size_t i = 0; i < count; i++) {
        spans[i] = tracing.ring[(tracing.first + i) % RING_SPANS];
    }
    tracing.first = (tracing.first + count) % RING_SPANS;
    tracing.count -= count;
    pthread_mutex_unlock(&tracing.lock);
    return count;
}

/* Told once until it works again. */
static void tell(enum outcome outcome, bool *told)
{
    if (outcome == SENT && *told) {
        log_info("the collector of traces takes them again");
    } else if (outcome != SENT && !*told) {
        log_warn("the collector of traces %s; spans will be dropped",
                 outcome == LATER ? "does not answer" : "refuses them");
    }
    *told = outcome != SENT;
}

static void send_batch(CURL *curl, struct span *spans, size_t count, struct buf *body, bool *told)
{
    enum outcome outcome = LATER;
    buf_reset(body);
    put_batch(body, spans, count);
    for (int attempt = 0; outcome == LATER && !body->overflow && attempt < ATTEMPTS_MAX; attempt++) {
        if (attempt && wait_for_spans(RETRY_MS, RING_SPANS + 1)) {
            break; /* whoever ends does not wait for who is away */
        }
        outcome = post(curl, body);
    }
    count_spans(outcome == SENT, count);
    tell(outcome, told);
}

static void *run_sender(void *argument)
{
    struct curl_slist *headers;
    CURL *curl = make_client(&headers);
    struct span *spans = mem_zalloc(BATCH_SPANS, sizeof(*spans));
    struct buf body;
    bool stopping = false, told = false;
    (void)argument;
    buf_init(&body, BODY_MAX);
    while (!stopping) {
        size_t count;
        stopping = wait_for_spans(SEND_EVERY_MS, BATCH_SPANS);
        while ((count = take_batch(spans)) > 0) {
            send_batch(curl, spans, count, &body, &told);
            if (watch_end(NULL, 0, 0, 0, 0) || (stopping && told)) {
                break;
            }
        }
    }
    buf_free(&body);
    free(spans);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    log_thread_end();
    return NULL;
}

bool trace_start(void)
{
    pthread_condattr_t attributes;
    if (!tracing.endpoint) {
        return true;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return false;
    }
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&tracing.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    tracing.ring = mem_zalloc(RING_SPANS, sizeof(*tracing.ring));
    tracing.running = pthread_create(&tracing.sender, NULL, run_sender, NULL) == 0;
    return tracing.running;
}

void trace_stop(void)
{
    if (!tracing.running) {
        return;
    }
    pthread_mutex_lock(&tracing.lock);
    tracing.stopping = true;
    atomic_store(&tracing.stop_by_us, clock_monotonic_us() + LAST_LIMIT_MS * 1000);
    pthread_cond_signal(&tracing.changed);
    pthread_mutex_unlock(&tracing.lock);
    pthread_join(tracing.sender, NULL);
    tracing.running = false;
    free(tracing.ring);
    pthread_cond_destroy(&tracing.changed);
    curl_global_cleanup();
}
