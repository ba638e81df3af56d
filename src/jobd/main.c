/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tallygate-jobd: what must happen without a request. Any number of these processes may run, on any host; the
 * database says who does what (work/queue.h). SIGTERM lets running jobs end; SIGHUP does as well, and then
 * starts anew from the binary on disk, in the same process.
 */
#include <curl/curl.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "identity/mail.h"
#include "jobd/handlers.h"
#include "report/report_write.h"
#include "store/migrate.h"
#include "work/delivery.h"
#include "work/relay.h"
#include "work/stream.h"

enum {
    EXIT_USAGE = 2,
    WATCHDOG_EVERY_US = 5000000,
    SCHEMA_EVERY_MS = 1000,
    ARGUMENTS_MAX = 16,
    CHECK_LIMIT_MS = 10000
};

struct jobd {
    const struct config *config;
    struct metrics *metrics;
    bool installed; /* the schedules are in the database */
    int64_t watchdog_at_us;
};

static int usage(FILE *out)
{
    fputs("usage: tallygate-jobd [--config FILE] [--metrics FILE]\n"
          "       tallygate-jobd [--config FILE] --check\n"
          "       tallygate-jobd --list-types | --version\n"
          "Runs background jobs; see tallygate-jobd(8).\n",
          out);
    return out == stdout ? 0 : EXIT_USAGE;
}

/* ---- what the runner asks ---- */

/* What is done as soon as there is something: one job does all that is due, so one that waits or runs is
 * enough. */
static void look_for(struct pg *pg, const char *type, enum err (*is_due)(struct pg *pg, bool *ret_due))
{
    const struct queue_order order = {.type = type, .priority = 0, .unique_key = "due"};
    bool due = false;
    if (is_due(pg, &due) == ERR_OK && due) {
        (void)queue_put(pg, &order, NULL);
    }
}

static void tick(struct pg *pg, void *argument)
{
    struct jobd *jobd = argument;
    if (!jobd->installed) {
        jobd->installed = schedule_install(pg, SCHEDULES, SCHEDULES_COUNT) == ERR_OK;
    }
    if (jobd->installed) {
        (void)schedule_run(pg);
        look_for(pg, "events.relay", relay_is_due);
        look_for(pg, "webhooks.deliver", delivery_is_due);
        if (*jobd->config->redis_url && *jobd->config->events_stream) {
            look_for(pg, "events.stream", stream_is_due);
        }
        if (*jobd->config->smtp_url) {
            look_for(pg, "mail.send", mail_is_due);
        }
    }
    metrics_count_cpu();
}

static void show_life(void *argument)
{
    struct jobd *jobd = argument;
    int64_t now_us = clock_monotonic_us();
    if (now_us >= jobd->watchdog_at_us) {
        jobd->watchdog_at_us = now_us + WATCHDOG_EVERY_US;
        sd_notify(0, "WATCHDOG=1");
    }
}

/* Wait for the database, and for a schema that has all that we ask for. False when it is told to stop. */
static bool wait_for_schema(struct jobd *jobd, const struct pg_options *options, int stop_event)
{
    struct pg *pg = pg_new(options);
    struct pollfd stop = {.fd = stop_event, .events = POLLIN};
    bool fits = false, told = false;
    do {
        int version = 0;
        bool answered = migrate_current(pg, &version) == ERR_OK;
        fits = answered && version >= migrate_required();
        if (answered && !fits && !told) {
            log_warn("the schema is at version %d and must be at %d: waiting for tallygatectl migrate up",
                     version, migrate_required());
            told = true;
        }
        show_life(jobd);
    } while (!fits && poll(&stop, 1, SCHEMA_EVERY_MS) == 0);
    pg_free(pg);
    return fits;
}

/* Counted as answers are: a row for each type, and under a status. */
static void count(size_t type, enum job_outcome outcome, int64_t duration_us, void *argument)
{
    static const int STATUSES[] = {[JOB_DONE] = 200, [JOB_RETRIED] = 503, [JOB_DEAD] = 500};
    struct jobd *jobd = argument;
    metrics_count_request(jobd->metrics, (ptrdiff_t)type, STATUSES[outcome], duration_us);
}

/* ---- signals ---- */

struct signals {
    int stop_event;
    const char *program;
    char **argv;
    _Atomic int number; /* that came */
};

/* Whether what is on disk would start: the binary, with its settings. It says itself what is wrong. */
static bool would_start(const struct signals *signals)
{
    const char *arguments[ARGUMENTS_MAX + 2];
    size_t count = 0;
    pid_t child;
    int status = -1; /* no exit */
    while (signals->argv[count] && count < ARGUMENTS_MAX) {
        arguments[count] = signals->argv[count];
        count++;
    }
    arguments[count++] = "--check";
    arguments[count] = NULL;
    if (posix_spawn(&child, signals->program, NULL, NULL, (char *const *)arguments, environ) != 0) {
        log_error("%s: cannot be started", signals->program);
        return false;
    }
    int64_t until_us = clock_monotonic_us() + CHECK_LIMIT_MS * 1000;
    const struct timespec pause = {.tv_nsec = 20 * 1000000L};
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (clock_monotonic_us() >= until_us) {
            kill(child, SIGKILL);
        }
        nanosleep(&pause, NULL);
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void *wait_for_signal(void *argument)
{
    struct signals *signals = argument;
    sigset_t set;
    int number;
    uint64_t one = 1;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    for (;;) {
        if (sigwait(&set, &number) != 0) {
            continue;
        }
        if (number != SIGHUP || would_start(signals)) {
            break;
        }
        log_error("not starting anew: what is on disk would not start; going on as before");
    }
    atomic_store(&signals->number, number);
    ssize_t written = write(signals->stop_event, &one, sizeof(one));
    (void)written;
    return NULL;
}

static struct metrics *map_metrics(const char *path)
{
    const char *names[METRICS_ROUTES];
    char texts[METRICS_ROUTES][METRICS_NAME_SIZE];
    int fd;
    for (size_t i = 0; i < WORK_TYPES; i++) {
        snprintf(texts[i], sizeof(texts[i]), "JOB %s", WORK_LIMITS[i].queue.name);
        names[i] = texts[i];
    }
    struct metrics *metrics = metrics_map(-1, path, names, WORK_TYPES, &fd);
    if (metrics) {
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* it is mapped anew by its name */
    }
    return metrics;
}

static int run(const struct config *config, const char *metrics_path, char **argv)
{
    char program[PATH_MAX];
    struct jobd jobd = {.config = config, .metrics = map_metrics(metrics_path)};
    struct signals signals = {.stop_event = eventfd(0, EFD_CLOEXEC), .program = program, .argv = argv};
    sigset_t all;
    pthread_t waiter;
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    program[length < 0 ? 0 : length] = '\0';
    if (!jobd.metrics || signals.stop_event < 0 || length < 0) {
        log_error("the process cannot start");
        return 1;
    }
    program[length] = '\0';
    metrics_sit_down(jobd.metrics);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_error("libcurl does not start");
        return 1;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (!trace_start() || pthread_create(&waiter, NULL, wait_for_signal, &signals) != 0) {
        log_error("a thread cannot be started");
        return 1;
    }
    const struct pg_options pg_options = {
        .url = config->database_url,
        .application_name = "tallygate-jobd",
        .connect_timeout_s = config->database_connect_timeout_s,
        .statement_timeout_ms = config->jobs_statement_timeout_s * 1000,
    };
    const struct runner_options options = {.config = config,
                                           .pg_options = &pg_options,
                                           .types = WORK_LIMITS,
                                           .handlers = HANDLERS,
                                           .types_count = WORK_TYPES,
                                           .threads = (int)config->jobs_threads,
                                           .stop_event = signals.stop_event,
                                           .drain_s = config->drain_s,
                                           .alive = show_life,
                                           .tick = tick,
                                           .count = count,
                                           .argument = &jobd};
    atomic_store(&metrics_seat()->ready, 1);
    log_info("running jobs in %lld threads", (long long)config->jobs_threads);
    sd_notify(0, "READY=1");
    if (wait_for_schema(&jobd, &pg_options, signals.stop_event)) {
        runner_run(&options);
    }
    trace_stop();
#ifdef __SANITIZE_ADDRESS__
    report_write_end();
#endif
    metrics_count_cpu();
    atomic_store(&metrics_seat()->ready, 0);
    pthread_join(waiter, NULL);
    close(signals.stop_event);
    metrics_clear_seat(jobd.metrics, getpid());
    curl_global_cleanup();
    if (atomic_load(&signals.number) == SIGHUP) {
        log_info("starting anew");
        sd_notify(0, "RELOADING=1");
        /* Signals stay blocked over exec, and one that came meanwhile is waited for by the new image. */
        execv(program, argv);
        log_error("%s: cannot be started", program);
        return 1;
    }
    log_info("stopped");
    return 0;
}

static bool read_settings(const char *path, struct config *config)
{
    char error[CONFIG_ERROR_SIZE];
    const char *reason;
    if (!config_load(config, path, error) || !config_load_secret(config, error)) {
        fprintf(stderr, "tallygate-jobd: %s\n", error);
        return false;
    }
    if (!pg_url_valid(config->database_url, &reason)) {
        fprintf(stderr, "tallygate-jobd: database_url: %s\n", reason);
        return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {{"config", required_argument, NULL, 'c'},
                                            {"metrics", required_argument, NULL, 'm'},
                                            {"list-types", no_argument, NULL, 'l'},
                                            {"check", no_argument, NULL, 'k'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *config_path = NULL, *metrics_path = NULL;
    struct config config = {0};
    bool only_check = false;
    int option;
    while ((option = getopt_long(argc, argv, "c:m:hV", OPTIONS, NULL)) != -1) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'm':
            metrics_path = optarg;
            break;
        case 'l':
            for (size_t i = 0; i < WORK_TYPES; i++) {
                puts(WORK_LIMITS[i].queue.name);
            }
            return 0;
        case 'k':
            only_check = true;
            break;
        case 'V':
            puts("tallygate-jobd " PACKAGE_VERSION);
            return 0;
        case 'h':
            return usage(stdout);
        default:
            return usage(stderr);
        }
    }
    if (optind != argc) {
        return usage(stderr);
    }
    if (!read_settings(config_path, &config)) {
        config_free(&config);
        return 1;
    }
    if (only_check) {
        config_free(&config);
        return 0;
    }
    log_setup("tallygate-jobd", NULL, (enum log_level)config.log_level);
    trace_setup(&config, "jobd");
#ifndef __SANITIZE_ADDRESS__
    prctl(PR_SET_DUMPABLE, 0); /* the memory holds the master secret */
#endif
    int code = run(&config, metrics_path, argv);
    config_free(&config);
    return code;
}
