/* SPDX-License-Identifier: Apache-2.0 */
#include "work/courier.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/network.h"
#include "base/trace.h"
#include "work/webhook_secret.h"

enum {
    FLIGHTS_MAX = 256,   /* under way at once */
    OF_ONE_WEBHOOK = 10, /* of these */
    OF_ONE_WORKSPACE = 64,
    OF_SLOW_ONES = 160, /* the others are for those that are quick */
    SLOW_MS = 2000,
    CONNECT_LIMIT_MS = 5000,
    ANSWER_LIMIT_MS = 15000, /* of the whole */
    ANSWER_KEPT = 1000,      /* bytes of an answer that are shown */
    ANSWER_MAX = 64 * 1024,  /* and that are read */
    ENTRY_MAX = 8 * 1024,
    LOOK_EVERY_MS = 100, /* for further ones, while some are under way */
    DATABASE_RETRY_MS = 250,
    DATABASE_LIMIT_MS = 10000, /* then its lease must do */
    RETRY_AFTER_MAX_S = 86400,
    HEADER_SIZE = 256,
};

/* Before the second attempt, the third and so on, as Standard Webhooks proposes. */
static const int64_t WAITS_S[DELIVERY_ATTEMPTS - 1] = {5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400};

struct flight {
    CURL *easy;
    struct courier *courier;
    struct curl_slist *headers;
    struct arena arena;
    struct delivery delivery;
    bool busy;    /* under way */
    bool refused; /* its address is one that nobody may be sent to */
    int64_t began_us;
    int64_t at_us; /* Unix time */
    struct trace_place place;
    char answer[ANSWER_KEPT];
    size_t kept, received;
};

struct courier {
    const struct courier_options *options;
    struct deliveries *deliveries;
    CURLM *multi;
    uint8_t key[CRYPTO_KEY_SIZE];
    struct flight flights[FLIGHTS_MAX];
    size_t busy;
    struct delivery begun[FLIGHTS_MAX];
    struct delivery_end ends[FLIGHTS_MAX];
    size_t ends_count;
    struct arena arena; /* of the ends */
    int64_t look_at_us;
    bool none_due;
    int64_t attempts;
    int64_t away_since_us; /* the database; 0: it is there */
};

/* ---- one request ---- */

static curl_socket_t open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct flight *flight = argument;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        !network_allowed(flight->courier->options->config->webhook_allow,
                         flight->courier->options->config->webhook_deny, &address->addr)) {
        flight->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static size_t take_answer(char *data, size_t size, size_t count, void *argument)
{
    struct flight *flight = argument;
    size_t length = size * count, room = ANSWER_KEPT - flight->kept;
    size_t kept = length < room ? length : room;
    memcpy(flight->answer + flight->kept, data, kept);
    flight->kept += kept;
    flight->received += length;
    return flight->received > ANSWER_MAX ? 0 : length; /* enough: its status is known */
}

static bool prepare(struct courier *courier, struct flight *flight)
{
    flight->courier = courier;
    if (flight->easy) {
        return true;
    }
    flight->easy = curl_easy_init();
    if (!flight->easy) {
        return false;
    }
    curl_easy_setopt(flight->easy, CURLOPT_PRIVATE, flight);
    curl_easy_setopt(flight->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(flight->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(flight->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(flight->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(flight->easy, CURLOPT_OPENSOCKETDATA, flight);
    curl_easy_setopt(flight->easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(flight->easy, CURLOPT_WRITEDATA, flight);
    curl_easy_setopt(flight->easy, CURLOPT_USERAGENT, "Tallygate/" PACKAGE_VERSION);
    curl_easy_setopt(flight->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_LIMIT_MS);
    curl_easy_setopt(flight->easy, CURLOPT_TIMEOUT_MS, (long)ANSWER_LIMIT_MS);
    curl_easy_setopt(flight->easy, CURLOPT_NOSIGNAL, 1L);
    /* A name whose servers say nothing is left to itself, and waited for by nobody. */
    curl_easy_setopt(flight->easy, CURLOPT_QUICK_EXIT, 1L);
    return true;
}

static void add_header(struct flight *flight, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_header(struct flight *flight, const char *format, ...)
{
    char line[HEADER_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    struct curl_slist *longer = curl_slist_append(flight->headers, line);
    if (!longer) {
        abort();
    }
    flight->headers = longer;
}

/* Its headers; false when a secret was sealed with another master secret. */
static bool sign(const struct courier *courier, struct flight *flight, const struct delivery *delivery)
{
    char first[WEBHOOK_SIGNATURE_SIZE], second[WEBHOOK_SIGNATURE_SIZE], parent[TRACE_PARENT_SIZE];
    long long timestamp = flight->at_us / USEC_PER_SEC;
    const char *message =
        arena_printf(&flight->arena, "%s.%lld.%s", delivery->event_id, timestamp, flight->delivery.body);
    size_t length = strlen(message);
    bool both = delivery->old_secret != NULL;
    if (!webhook_secret_sign(courier->key, delivery->webhook_id, delivery->secret, message, length, first) ||
        (both && !webhook_secret_sign(courier->key, delivery->webhook_id, delivery->old_secret, message,
                                      length, second))) {
        return false;
    }
    trace_place_format(&flight->place, parent);
    add_header(flight, "Content-Type: %s",
               delivery->cloudevent ? "application/cloudevents+json; charset=utf-8" : "application/json");
    add_header(flight, "webhook-id: %s", delivery->event_id);
    add_header(flight, "webhook-timestamp: %lld", timestamp);
    add_header(flight, "webhook-signature: %s%s%s", first, both ? " " : "", both ? second : "");
    add_header(flight, "traceparent: %s", parent);
    add_header(flight, "Accept: */*");
    add_header(flight, "Expect:"); /* never */
    return true;
}

/* ---- what becomes of it ---- */

static int64_t wait_ms(int64_t attempts, int64_t retry_after_s)
{
    uint32_t random;
    int64_t wait = WAITS_S[attempts > 0 && attempts < DELIVERY_ATTEMPTS ? attempts - 1 : 0] * 1000;
    int64_t asked = (retry_after_s > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : retry_after_s) * 1000;
    crypto_random(&random, sizeof(random));
    wait = wait * 9 / 10 + (int64_t)(random % (uint32_t)(wait / 5 + 1)); /* all do not come at once */
    return wait > asked ? wait : asked;
}

/* PostgreSQL's jsonb holds no U+0000. */
static void put_answer(struct buf *entry, struct flight *flight)
{
    for (size_t i = 0; i < flight->kept; i++) {
        flight->answer[i] = flight->answer[i] ? flight->answer[i] : ' ';
    }
    buf_put_json_string(entry, flight->answer, flight->kept);
}

/* `error` NULL: it was answered, with `status`. */
static void end(struct courier *courier, struct flight *flight, long status, int64_t retry_after_s,
                const char *error)
{
    const struct delivery *delivery = &flight->delivery;
    char at[CLOCK_TEXT_SIZE];
    struct buf entry;
    bool done = !error && status >= 200 && status < 300;
    bool gone = !error && status == 410;
    bool again = !done && !gone && delivery->attempts < DELIVERY_ATTEMPTS && delivery->body;
    int64_t duration_us = clock_monotonic_us() - flight->began_us;
    clock_format(flight->at_us, at);
    buf_init(&entry, ENTRY_MAX);
    buf_printf(&entry, "{\"at\":\"%s\",\"duration_ms\":%lld,\"status\":", at, (long long)duration_us / 1000);
    buf_printf(&entry, error ? "null,\"answer\":" : "%ld,\"answer\":", status);
    if (error) {
        buf_puts(&entry, "null,\"error\":");
        buf_put_json_string(&entry, error, strlen(error));
    } else {
        put_answer(&entry, flight);
        buf_puts(&entry, ",\"error\":null");
    }
    buf_putc(&entry, '}');
    courier->ends[courier->ends_count++] =
        (struct delivery_end){.workspace_id = delivery->workspace_id,
                              .id = delivery->id,
                              .attempts = delivery->attempts,
                              .fate = done    ? DELIVERY_DONE
                                      : again ? DELIVERY_AGAIN
                                              : DELIVERY_FAILED,
                              .delay_ms = again ? wait_ms(delivery->attempts, retry_after_s) : 0,
                              .entry = arena_strdup(&courier->arena, buf_text(&entry)),
                              .gone = gone,
                              .slow = duration_us >= SLOW_MS * 1000,
                              .revision = delivery->revision};
    memcpy(courier->ends[courier->ends_count - 1].webhook_id, delivery->webhook_id, UUID_TEXT_SIZE);
    buf_free(&entry);
    const struct trace_call call = {.webhook_id = delivery->webhook_id,
                                    .status = error ? 0 : (int)status,
                                    .attempts = delivery->attempts,
                                    .began_us = flight->began_us,
                                    .failed = !done};
    trace_end_call(&flight->place, &call);
    struct metrics *metrics = metrics_own();
    if (metrics) {
        enum metrics_delivery counted = done    ? METRICS_DELIVERY_DONE
                                        : again ? METRICS_DELIVERY_AGAIN
                                                : METRICS_DELIVERY_FAILED;
        atomic_fetch_add_explicit(&metrics->deliveries[counted], 1, memory_order_relaxed);
        metrics_add(&metrics->delivery_us, METRICS_TIMES_US, duration_us);
    }
    courier->attempts++;
    curl_slist_free_all(flight->headers);
    flight->headers = NULL;
    arena_reset(&flight->arena);
    flight->busy = false;
    courier->busy--;
}

/* Texts of `delivery` live until this returns. */
static void begin(struct courier *courier, struct flight *flight, const struct delivery *delivery)
{
    flight->delivery = *delivery;
    flight->busy = true;
    courier->busy++;
    flight->refused = false;
    flight->kept = flight->received = 0;
    flight->began_us = clock_monotonic_us();
    flight->at_us = clock_now_us();
    trace_place_new(delivery->trace, &flight->place);
    if (!delivery->body) {
        end(courier, flight, 0, 0, "the event is not kept any more");
        return;
    }
    flight->delivery.body = arena_strdup(&flight->arena, delivery->body);
    if (!prepare(courier, flight) || !sign(courier, flight, delivery)) {
        end(courier, flight, 0, 0, "its secret was sealed with another master secret");
        return;
    }
    curl_easy_setopt(flight->easy, CURLOPT_URL, delivery->url);
    curl_easy_setopt(flight->easy, CURLOPT_POSTFIELDS, flight->delivery.body);
    curl_easy_setopt(flight->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(flight->delivery.body));
    curl_easy_setopt(flight->easy, CURLOPT_HTTPHEADER, flight->headers);
    if (curl_multi_add_handle(courier->multi, flight->easy) != CURLM_OK) {
        end(courier, flight, 0, 0, "the request cannot be made");
    }
}

static void finish(struct courier *courier, CURL *easy, CURLcode result)
{
    struct flight *flight;
    long status = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &flight);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    curl_multi_remove_handle(courier->multi, easy);
    bool answered = status && (result == CURLE_OK || flight->received > ANSWER_MAX);
    const char *error = answered          ? NULL
                        : flight->refused ? "its address is not one that may be sent to"
                                          : curl_easy_strerror(result);
    end(courier, flight, status, retry_after_s, error);
}

/* ---- all of them ---- */

static size_t gather_loads(const struct courier *courier, struct delivery_load *loads)
{
    size_t count = 0;
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        const struct flight *flight = &courier->flights[i];
        size_t k = 0;
        if (!flight->busy) {
            continue;
        }
        while (k < count && strcmp(loads[k].webhook_id, flight->delivery.webhook_id) != 0) {
            k++;
        }
        if (k == count) {
            loads[count++] = (struct delivery_load){.webhook_id = flight->delivery.webhook_id};
        }
        loads[k].count++;
    }
    return count;
}

/* Tell the database what became of some, and begin others. */
static enum err turn(struct courier *courier, bool stopping)
{
    struct delivery_load loads[FLIGHTS_MAX];
    struct arena arena = {0};
    size_t begun = 0;
    int64_t now_us = clock_monotonic_us();
    bool look = !stopping && (now_us >= courier->look_at_us || courier->ends_count);
    const struct delivery_turn turn = {.ends = courier->ends,
                                       .ends_count = courier->ends_count,
                                       .loads = loads,
                                       .loads_count = look ? gather_loads(courier, loads) : 0,
                                       .each_most = OF_ONE_WEBHOOK,
                                       .workspace_most = OF_ONE_WORKSPACE,
                                       .slow_most = OF_SLOW_ONES,
                                       .most = look ? FLIGHTS_MAX - courier->busy : 0,
                                       .arena = &arena,
                                       .begun = courier->begun};
    enum err e = deliveries_turn(courier->deliveries, courier->options->pg, &turn, &begun);
    if (!e) {
        courier->ends_count = 0;
        arena_reset(&courier->arena);
        courier->none_due = stopping || (turn.most && !begun) || (!turn.most && courier->none_due);
        courier->look_at_us = look ? now_us + LOOK_EVERY_MS * 1000 : courier->look_at_us;
    }
    for (size_t i = 0, place = 0; !e && i < begun; i++) {
        while (courier->flights[place].busy) {
            place++;
        }
        begin(courier, &courier->flights[place], &courier->begun[i]);
    }
    arena_free(&arena);
    return e;
}

static void wait_and_take(struct courier *courier)
{
    int running, left;
    CURLMsg *message;
    curl_multi_perform(courier->multi, &running);
    message = curl_multi_info_read(courier->multi, &left);
    if (!message && !courier->ends_count) {
        curl_multi_poll(courier->multi, NULL, 0, LOOK_EVERY_MS, NULL);
        curl_multi_perform(courier->multi, &running);
        message = curl_multi_info_read(courier->multi, &left);
    }
    for (; message; message = curl_multi_info_read(courier->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            finish(courier, message->easy_handle, message->data.result);
        }
    }
}

/* Whether to go on trying. */
static bool bear(struct courier *courier)
{
    int64_t now_us = clock_monotonic_us();
    const struct timespec pause = {.tv_nsec = DATABASE_RETRY_MS * 1000000L};
    courier->away_since_us = courier->away_since_us ? courier->away_since_us : now_us;
    nanosleep(&pause, NULL);
    return courier->busy || now_us - courier->away_since_us < DATABASE_LIMIT_MS * 1000;
}

static enum err run(struct courier *courier)
{
    const struct courier_options *options = courier->options;
    enum err e = ERR_OK;
    for (;;) {
        e = turn(courier, options->should_stop(options->argument));
        if (!e) {
            courier->away_since_us = 0;
        } else if (e != ERR_UNAVAILABLE || !bear(courier)) {
            break;
        }
        if (courier->none_due && !courier->busy && !courier->ends_count) {
            break;
        }
        if (courier->busy) {
            wait_and_take(courier);
        }
        options->progress(options->argument, courier->attempts);
    }
    return e;
}

enum err courier_run(const struct courier_options *options)
{
    struct courier *courier = mem_zalloc(1, sizeof(*courier));
    bool more = true;
    enum err e = ERR_INTERNAL;
    courier->options = options;
    courier->deliveries = deliveries_new(options->config->issuer, options->disabled);
    courier->multi = curl_multi_init();
    if (courier->multi && webhook_secret_key(options->config, courier->key)) {
        curl_multi_setopt(courier->multi, CURLMOPT_MAXCONNECTS, (long)FLIGHTS_MAX);
        e = ERR_OK;
    }
    while (!e && more) {
        e = delivery_give_up(options->pg, &more);
    }
    e = e ? e : run(courier);
    for (size_t i = 0; i < FLIGHTS_MAX; i++) {
        struct flight *flight = &courier->flights[i];
        if (flight->busy) {
            curl_multi_remove_handle(courier->multi, flight->easy);
        }
        curl_slist_free_all(flight->headers);
        curl_easy_cleanup(flight->easy);
        arena_free(&flight->arena);
    }
    curl_multi_cleanup(courier->multi);
    deliveries_free(courier->deliveries);
    arena_free(&courier->arena);
    crypto_wipe(courier->key, sizeof(courier->key));
    free(courier);
    return e;
}
