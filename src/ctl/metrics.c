/* SPDX-License-Identifier: Apache-2.0 */
/* tallygatectl metrics show | serve */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/mem.h"
#include "ctl/ctl.h"
#include "ctl/exposition.h"
#include "ctl/options.h"

enum { TEXT_MAX = 16 * 1024 * 1024, CONNECTIONS_MAX = 16, TIMEOUT_S = 10 };

struct arguments {
    const char *sockets;
    const char *listen;
    struct legacy *legacy; /* NULL: nobody tells of old paths */
};

static void write_all(const struct arguments *arguments, struct buf *text)
{
    const struct metrics *pools[EXPOSITION_POOLS];
    exposition_open(arguments->sockets, pools);
    exposition_write(pools, arguments->legacy, text);
    for (size_t i = 0; i < EXPOSITION_POOLS; i++) {
        metrics_close(pools[i]);
    }
}

static int show(const struct arguments *arguments)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    write_all(arguments, &text);
    bool written = !text.overflow && fwrite(text.data, 1, text.length, stdout) == text.length;
    buf_free(&text);
    return written ? CTL_OK : CTL_FAILED;
}

/* ---- for a scraper ---- */

static enum MHD_Result reply(struct MHD_Connection *connection, unsigned status, const char *type,
                             const char *text, size_t length)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (!response) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer(void *argument, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *body, size_t *body_length,
                              void **state)
{
    static const char UNKNOWN[] = "the metrics are at /metrics\n";
    const struct arguments *arguments = argument;
    struct buf text;
    (void)version;
    (void)body;
    (void)state;
    *body_length = 0;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return reply(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", UNKNOWN, sizeof(UNKNOWN) - 1);
    }
    if (strcmp(url, "/metrics") != 0) {
        return reply(connection, MHD_HTTP_NOT_FOUND, "text/plain", UNKNOWN, sizeof(UNKNOWN) - 1);
    }
    buf_init(&text, TEXT_MAX);
    write_all(arguments, &text);
    enum MHD_Result queued =
        text.overflow ? MHD_NO : reply(connection, MHD_HTTP_OK, EXPOSITION_TYPE, text.data, text.length);
    buf_free(&text);
    return queued;
}

/* ADDRESS:PORT, an IPv6 one in brackets. */
static bool read_address(const char *text, struct sockaddr_storage *ret_address)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    char *end;
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret_address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret_address;
    memset(ret_address, 0, sizeof(*ret_address));
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof(host)) {
        return false;
    }
    long port = strtol(colon + 1, &end, 10);
    if (*end || end == colon + 1 || port < 0 || port > 65535) {
        return false;
    }
    bool bracketed = text[0] == '[' && colon[-1] == ']';
    size_t length = (size_t)(colon - text) - (bracketed ? 2 : 0);
    memcpy(host, text + bracketed, length);
    host[length] = '\0';
    if (bracketed) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
}

/* Until a signal comes, count what nginx tells. */
static void await_stop(int signals, struct legacy *legacy)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = legacy ? legacy_event(legacy) : -1, .events = POLLIN}};
    while (poll(fds, ARRAY_SIZE(fds), -1) <= 0 || !fds[0].revents) {
        if (fds[1].revents) {
            legacy_take(legacy);
        }
    }
}

static int serve(struct arguments *arguments)
{
    struct sockaddr_storage address;
    sigset_t stop;
    if (!read_address(arguments->listen, &address)) {
        fprintf(stderr, "tallygatectl: --listen takes ADDRESS:PORT, as in 127.0.0.1:9464 or [::1]:9464\n");
        return CTL_USAGE;
    }
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stop, NULL); /* before there are other threads */
    int signals = signalfd(-1, &stop, SFD_CLOEXEC);
    if (signals < 0) {
        return ctl_fail("metrics serve", strerror(errno));
    }
    arguments->legacy = legacy_open(arguments->sockets);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0U), 0, NULL, NULL,
        answer, arguments, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "tallygatectl: nothing can be served at %s; is somebody else there?\n",
                arguments->listen);
        legacy_close(arguments->legacy);
        close(signals);
        return CTL_FAILED;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    fprintf(stderr, "serving /metrics at port %u\n", info ? (unsigned)info->port : 0U);
    sd_notify(0, "READY=1");
    await_stop(signals, arguments->legacy);
    sd_notify(0, "STOPPING=1");
    MHD_stop_daemon(daemon);
    legacy_close(arguments->legacy);
    close(signals);
    return CTL_OK;
}

int ctl_metrics(struct ctl *ctl, int argc, char **argv)
{
    enum { LISTEN, SOCKETS, COUNT };
    static const struct option OPTIONS[] = {{"listen", required_argument, NULL, LISTEN},
                                            {"sockets", required_argument, NULL, SOCKETS},
                                            {NULL, 0, NULL, 0}};
    const char *texts[COUNT];
    (void)ctl;
    bool serves = argc > 1 && strcmp(argv[1], "serve") == 0;
    if (argc < 2 || (!serves && strcmp(argv[1], "show") != 0)) {
        return ctl_usage(argv[0]);
    }
    int first = ctl_read_options(argc - 1, argv + 1, OPTIONS, texts);
    if (first != argc - 1) {
        return first < 0 ? CTL_USAGE : ctl_usage(argv[0]);
    }
    struct arguments arguments = {.sockets = texts[SOCKETS] ? texts[SOCKETS] : TALLYGATE_RUNDIR,
                                  .listen = texts[LISTEN] ? texts[LISTEN] : "127.0.0.1:9464"};
    return serves ? serve(&arguments) : show(&arguments);
}
