/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygatectl bench URL: how many events this installation records in a second, and how long each takes, by
 * real requests through nginx. It leaves events of the type `bench` in the workspace of the key, so that
 * should be one for the purpose.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/options.h"
#include "ctl/print.h"
#include "ctl/progress.h"
#include "ctl/secret.h"

enum {
    CLIENTS_MAX = 256,
    SECONDS_MAX = 600,
    EVENTS_MAX = 1000,
    LATENCIES_MAX = 10 * 1000 * 1000,
    REQUEST_LIMIT_MS = 30000
};

struct bench {
    const char *url;
    const char *certificate; /* NULL: those that the system trusts */
    long clients;
    long seconds;
    long events; /* in a request */

    char *body;
    size_t body_length;
    struct curl_slist *headers;
    CURL *handles[CLIENTS_MAX];
    uint32_t *latencies_us;
    size_t requests; /* that were answered as they should */
    size_t failed;
    long last_status; /* of one that failed, or 0 */
    const char *last_error;
};

static size_t ignore(char *data, size_t size, size_t count, void *argument)
{
    (void)data;
    (void)argument;
    return size * count;
}

static void make_body(struct bench *bench)
{
    struct buf body;
    buf_init(&body, 1024 * 1024);
    buf_puts(&body, bench->events > 1 ? "[" : "");
    for (long i = 0; i < bench->events; i++) {
        buf_printf(&body, "%s{\"type\":\"bench\",\"value\":1,\"user_id\":\"bench-%ld\"}", i ? "," : "",
                   i % 100);
    }
    buf_puts(&body, bench->events > 1 ? "]" : "");
    bench->body_length = body.length;
    bench->body = body.data;
}

static CURL *make_client(const struct bench *bench)
{
    CURL *curl = curl_easy_init();
    if (!curl) {
        abort();
    }
    curl_easy_setopt(curl, CURLOPT_URL, bench->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION,
                     (long)CURL_HTTP_VERSION_1_1); /* a connection for each client */
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, bench->headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, bench->body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)bench->body_length);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)REQUEST_LIMIT_MS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (bench->certificate) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, bench->certificate);
    }
    return curl;
}

static void note(struct bench *bench, CURL *curl, CURLcode result)
{
    long status = 0;
    curl_off_t took_us = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME_T, &took_us);
    if (result == CURLE_OK && (status == 201 || (status == 200 && bench->events > 1))) {
        if (bench->requests < LATENCIES_MAX) {
            bench->latencies_us[bench->requests++] = (uint32_t)took_us;
        }
        return;
    }
    bench->failed++;
    bench->last_status = result == CURLE_OK ? status : 0;
    bench->last_error = curl_easy_strerror(result);
}

/* Returns how long it took, in microseconds. */
static int64_t drive(struct bench *bench)
{
    struct ctl_progress bar;
    const struct progress progress = ctl_progress_begin(&bar, "recording", false);
    CURLM *multi = curl_multi_init();
    int64_t began_us = clock_monotonic_us(), end_us = began_us + bench->seconds * USEC_PER_SEC;
    int running = (int)bench->clients;
    if (!multi) {
        abort();
    }
    for (long i = 0; i < bench->clients; i++) {
        bench->handles[i] = make_client(bench);
        curl_multi_add_handle(multi, bench->handles[i]);
    }
    while (running > 0) {
        int left;
        CURLMsg *message;
        curl_multi_perform(multi, &running);
        bool over = clock_monotonic_us() >= end_us;
        while ((message = curl_multi_info_read(multi, &left))) {
            CURL *curl = message->easy_handle;
            note(bench, curl, message->data.result);
            curl_multi_remove_handle(multi, curl);
            if (!over && bench->failed < 1000) {
                curl_multi_add_handle(multi, curl);
                running++;
            }
        }
        progress_tell(&progress, clock_monotonic_us() - began_us, end_us - began_us);
        if (running > 0) {
            curl_multi_poll(multi, NULL, 0, 100, NULL);
        }
    }
    int64_t took_us = clock_monotonic_us() - began_us;
    ctl_progress_end(&bar);
    for (long i = 0; i < bench->clients; i++) {
        curl_easy_cleanup(bench->handles[i]);
    }
    curl_multi_cleanup(multi);
    return took_us;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void add_ms(struct json_object *told, const char *name, const struct bench *bench, double share)
{
    char text[32];
    size_t place = (size_t)(share * (double)(bench->requests - 1));
    snprintf(text, sizeof(text), "%.2f", (double)bench->latencies_us[place] / 1000);
    json_add_number(told, name, bench->requests ? text : NULL);
}

static void tell(const struct ctl *ctl, struct bench *bench, int64_t took_us)
{
    JSON_AUTO told = json_object_new_object();
    qsort(bench->latencies_us, bench->requests, sizeof(*bench->latencies_us), compare);
    json_add_int(told, "clients", bench->clients);
    json_add_int(told, "events_recorded", (int64_t)bench->requests * bench->events);
    json_add_int(told, "events_per_second",
                 (int64_t)((double)bench->requests * (double)bench->events * 1e6 / (double)took_us));
    if (bench->requests) {
        add_ms(told, "ms_median", bench, 0.5);
        add_ms(told, "ms_p90", bench, 0.9);
        add_ms(told, "ms_p99", bench, 0.99);
        add_ms(told, "ms_longest", bench, 1);
    }
    json_add_int(told, "failed", (int64_t)bench->failed);
    ctl_print(ctl, told, NULL);
    if (bench->failed && bench->last_status) {
        fprintf(stderr, "tallygatectl: bench: the last one that failed was answered %ld\n",
                bench->last_status);
    } else if (bench->failed) {
        fprintf(stderr, "tallygatectl: bench: the last one that failed: %s\n", bench->last_error);
    }
}

static int run(const struct ctl *ctl, struct bench *bench, const char *key)
{
    char header[CTL_SECRET_MAX + 32];
    snprintf(header, sizeof(header), "Authorization: Bearer %s", key);
    bench->headers = curl_slist_append(NULL, header);
    bench->headers = curl_slist_append(bench->headers, "Content-Type: application/json");
    crypto_wipe(header, sizeof(header));
    make_body(bench);
    bench->latencies_us = mem_alloc((size_t)LATENCIES_MAX * sizeof(*bench->latencies_us));
    tell(ctl, bench, drive(bench));
    curl_slist_free_all(bench->headers);
    free(bench->latencies_us);
    free(bench->body);
    return bench->failed ? CTL_FAILED : CTL_OK;
}

static bool read_number(const char *option, const char *text, long fallback, long max, long *ret_number)
{
    char *end;
    *ret_number = text ? strtol(text, &end, 10) : fallback;
    if (text && (*end || end == text || *ret_number < 1 || *ret_number > max)) {
        fprintf(stderr, "tallygatectl: --%s must be from 1 to %ld\n", option, max);
        return false;
    }
    return true;
}

int ctl_bench(struct ctl *ctl, int argc, char **argv)
{
    enum { CACERT, CLIENTS, EVENTS, SECONDS, COUNT };
    static const struct option OPTIONS[] = {{"cacert", required_argument, NULL, CACERT},
                                            {"clients", required_argument, NULL, CLIENTS},
                                            {"events", required_argument, NULL, EVENTS},
                                            {"seconds", required_argument, NULL, SECONDS},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    int first = ctl_read_options(argc, argv, OPTIONS, texts);
    char key[CTL_SECRET_MAX], url[1024];
    struct bench bench = {.certificate = texts[CACERT], .url = url};
    if (first < 0 || first + 1 != argc) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    if (!read_number("clients", texts[CLIENTS], 16, CLIENTS_MAX, &bench.clients) ||
        !read_number("events", texts[EVENTS], 1, EVENTS_MAX, &bench.events) ||
        !read_number("seconds", texts[SECONDS], 10, SECONDS_MAX, &bench.seconds)) {
        return CTL_USAGE;
    }
    size_t length = strlen(argv[first]);
    if ((size_t)snprintf(url, sizeof(url), "%.*s/analytics/events",
                         (int)(length && argv[first][length - 1] == '/' ? length - 1 : length),
                         argv[first]) >= sizeof(url)) {
        return ctl_usage(argv[0]);
    }
    if (!ctl_read_secret("API key", key)) {
        return CTL_FAILED;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = run(ctl, &bench, key);
    crypto_wipe(key, sizeof(key));
    curl_global_cleanup();
    return code;
}
