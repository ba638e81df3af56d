/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master does no work of its own: it forks workers, replaces those that die, and passes stop
 * and reload on. It has one thread, so forking is safe, and takes all signals through a signalfd.
 *
 * Reload (SIGHUP). The master checks the new binary and settings by running the binary on disk
 * with --check-start; when that fails, everything stays as it is. Then it execs that binary in its own
 * place: the process id stays, so neither systemd nor spawn-fcgi notices, and the listener, the
 * metrics memory, the lifeline and the old workers are still ours. What the new image must know
 * travels in one environment variable. It starts workers of its own, and when they accept
 * requests it tells the old ones to drain. The listener is open all the time, so no connection is
 * refused, and none that was taken is cut.
 *
 * Replacement. A worker that dies is started again at once; one that dies young waits a little
 * longer each time, to a limit below a second, and for ever: a database that comes back after a
 * week finds the pool trying.
 *
 * The lifeline is a pipe that only the master holds the writing end of. When the master dies, by
 * whatever signal, the workers read end-of-file, drain and end, and a supervisor starts anew.
 */
#include "fcgid/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "fcgid/routes.h"
#include "fcgid/worker.h"

#define STATE_VARIABLE "TALLYGATE_MASTER_STATE"

enum {
    LISTENER = 0, /* spawn-fcgi puts it there */
    WORKERS_MAX = 64,
    OLD_MAX = 4 * WORKERS_MAX, /* workers of earlier images that still drain */
    YOUNG_S = 5,
    BACKOFF_FIRST_MS = 10,
    BACKOFF_MAX_MS = 800,
    CHECK_LIMIT_S = 30,
    KILL_MARGIN_S = 2, /* past drain_s, before SIGKILL */
};

struct slot {
    pid_t pid; /* 0: none runs */
    int ready; /* our end of its pipe, -1 once it spoke or died */
    bool is_ready;
    int64_t started_us;
    int64_t start_at_us; /* when to start the next, monotonic */
    int64_t backoff_ms;
};

struct master {
    const struct master_options *options;
    struct metrics *metrics;
    int metrics_fd;
    int lifeline[2];
    int signals;
    struct slot slots[WORKERS_MAX];
    pid_t old[OLD_MAX]; /* 0: free */
    bool old_told;      /* the old ones were told to drain */
    bool ready_told;    /* systemd knows that we are ready */
    bool stopping;
    pid_t check_pid; /* of --check-start during a reload, 0: none */
    int check_status;
    bool check_ended;
    bool reload_again; /* SIGHUP came during the check */
    int64_t kill_at_us;
    int64_t watchdog_us; /* how often to speak, 0: never */
    int64_t watchdog_at_us;
};

/* ---- workers ---- */

static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    /* Faults must stay deadly. */
    static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < ARRAY_SIZE(FAULTS); i++) {
        sigdelset(&all, FAULTS[i]);
    }
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void become_worker(struct master *master, int ready)
{
    const struct master_options *options = master->options;
    close(master->lifeline[1]);
    close(master->signals);
    close(master->metrics_fd);
    for (int i = 0; i < options->workers; i++) {
        if (master->slots[i].ready >= 0) {
            close(master->slots[i].ready);
        }
    }
    unsetenv("NOTIFY_SOCKET"); /* only the master speaks to systemd */
    const struct worker_options worker = {
        .config = options->config,
        .metrics = master->metrics,
        .pool = options->pool,
        .threads = options->threads,
        .listener = LISTENER,
        .lifeline = master->lifeline[0],
        .ready = ready,
    };
    worker_run(&worker);
}

static void start_worker(struct master *master, struct slot *slot)
{
    int ready[2];
    slot->started_us = clock_monotonic_us();
    if (pipe2(ready, O_CLOEXEC | O_NONBLOCK) != 0) {
        log_error("a worker cannot start: %s", strerror(errno));
        slot->start_at_us = slot->started_us + BACKOFF_MAX_MS * 1000;
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ready[0]);
        become_worker(master, ready[1]);
        _exit(1); /* not reached */
    }
    close(ready[1]);
    if (pid < 0) {
        log_error("a worker cannot start: %s", strerror(errno));
        close(ready[0]);
        slot->start_at_us = slot->started_us + BACKOFF_MAX_MS * 1000;
        return;
    }
    slot->pid = pid;
    slot->ready = ready[0];
    slot->is_ready = false;
}

static void start_due_workers(struct master *master)
{
    int64_t now_us = clock_monotonic_us();
    for (int i = 0; i < master->options->workers && !master->stopping; i++) {
        struct slot *slot = &master->slots[i];
        if (!slot->pid && now_us >= slot->start_at_us) {
            start_worker(master, slot);
        }
    }
}

static void note_death(struct master *master, struct slot *slot, int status)
{
    int64_t now_us = clock_monotonic_us();
    bool young = now_us - slot->started_us < YOUNG_S * USEC_PER_SEC;
    int64_t grown_ms = slot->backoff_ms ? slot->backoff_ms * 2 : BACKOFF_FIRST_MS;
    slot->backoff_ms = !young ? 0 : grown_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : grown_ms;
    slot->start_at_us = now_us + slot->backoff_ms * 1000;
    if (!master->stopping) {
        const char *how = WIFSIGNALED(status) ? "signal" : "exit code";
        int value = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
        log_warn("worker %d ended by %s %d; starting another in %lld ms", (int)slot->pid, how, value,
                 (long long)slot->backoff_ms);
        atomic_fetch_add(&master->metrics->workers_replaced, 1);
    }
    if (slot->ready >= 0) {
        close(slot->ready);
    }
    *slot = (struct slot){.ready = -1, .start_at_us = slot->start_at_us, .backoff_ms = slot->backoff_ms};
}

static void reap(struct master *master)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == master->check_pid) {
            master->check_status = status;
            master->check_ended = true;
        }
        for (int i = 0; i < OLD_MAX; i++) {
            if (master->old[i] == pid) {
                master->old[i] = 0;
            }
        }
        metrics_clear_seat(master->metrics, pid);
        for (int i = 0; i < master->options->workers; i++) {
            if (master->slots[i].pid == pid) {
                note_death(master, &master->slots[i], status);
            }
        }
    }
}

static void signal_old(struct master *master, int signal)
{
    for (int i = 0; i < OLD_MAX; i++) {
        if (master->old[i]) {
            kill(master->old[i], signal);
        }
    }
}

static void signal_all(struct master *master, int signal)
{
    signal_old(master, signal);
    for (int i = 0; i < master->options->workers; i++) {
        if (master->slots[i].pid) {
            kill(master->slots[i].pid, signal);
        }
    }
}

static bool any_alive(const struct master *master)
{
    for (int i = 0; i < OLD_MAX; i++) {
        if (master->old[i]) {
            return true;
        }
    }
    for (int i = 0; i < master->options->workers; i++) {
        if (master->slots[i].pid) {
            return true;
        }
    }
    return false;
}

/* ---- reload ---- */

/* Try whether the binary on disk would start with the settings on disk. Meanwhile the master goes on;
 * the end of this child leads to finish_reload(). */
static void begin_reload(struct master *master)
{
    const struct master_options *options = master->options;
    if (master->check_pid) {
        master->reload_again = true;
        return;
    }
    log_info("reloading");
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        close(master->lifeline[1]); /* it must not keep the workers of a dead master alive */
        close(master->metrics_fd);
        alarm(CHECK_LIMIT_S);
        if (options->config_path) {
            execl(options->program, options->program, "--check-start", "--config", options->config_path,
                  (char *)NULL);
        } else {
            execl(options->program, options->program, "--check-start", (char *)NULL);
        }
        _exit(127);
    }
    if (pid < 0) {
        log_error("reload failed: %s", strerror(errno));
        return;
    }
    master->check_pid = pid;
}

/* "metrics-fd lifeline-read lifeline-write pid pid …" */
static void write_state(const struct master *master, char *text, size_t size)
{
    int length =
        snprintf(text, size, "%d %d %d", master->metrics_fd, master->lifeline[0], master->lifeline[1]);
    for (int i = 0; i < OLD_MAX + master->options->workers; i++) {
        pid_t pid = i < OLD_MAX ? master->old[i] : master->slots[i - OLD_MAX].pid;
        if (pid && length > 0 && (size_t)length < size) {
            length += snprintf(text + length, size - (size_t)length, " %d", (int)pid);
        }
    }
}

/* Take over from an earlier image. False when this is the first. */
static bool read_state(struct master *master)
{
    const char *text = getenv(STATE_VARIABLE);
    int used = 0;
    if (!text || sscanf(text, "%d %d %d%n", &master->metrics_fd, &master->lifeline[0], &master->lifeline[1],
                        &used) != 3) {
        return false;
    }
    text += used;
    int pid;
    for (int i = 0; i < OLD_MAX && sscanf(text, " %d%n", &pid, &used) == 1; i++) {
        master->old[i] = pid;
        text += used;
    }
    unsetenv(STATE_VARIABLE);
    return true;
}

static void notify_reloading(void)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
}

static void exec_next(struct master *master)
{
    char state[64 + 12 * (OLD_MAX + WORKERS_MAX)];
    notify_reloading();
    write_state(master, state, sizeof(state));
    setenv(STATE_VARIABLE, state, 1);
    close(master->signals);
    execv(master->options->program, master->options->argv);

    log_error("reload failed: %s: %s", master->options->program, strerror(errno));
    unsetenv(STATE_VARIABLE);
    sd_notify(0, "READY=1");
    sigset_t set;
    sigfillset(&set);
    master->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The check that begin_reload() started has ended. */
static void finish_reload(struct master *master)
{
    bool fine = WIFEXITED(master->check_status) && WEXITSTATUS(master->check_status) == 0;
    master->check_pid = 0;
    master->check_ended = false;
    if (master->stopping) {
        return;
    }
    if (master->reload_again) {
        master->reload_again = false; /* what is on disk may have changed since the check began */
        begin_reload(master);
    } else if (fine) {
        exec_next(master);
    } else {
        log_error("reload refused: %s --check-start fails; the old workers go on", master->options->program);
    }
}

/* ---- the loop ---- */

static void stop(struct master *master)
{
    if (master->stopping) {
        return;
    }
    log_info("stopping");
    sd_notify(0, "STOPPING=1");
    master->stopping = true;
    master->kill_at_us =
        clock_monotonic_us() + (master->options->config->drain_s + KILL_MARGIN_S) * USEC_PER_SEC;
    close(LISTENER); /* the workers close theirs by ending; then connecting fails at once */
    signal_all(master, SIGTERM);
}

static void take_signals(struct master *master)
{
    struct signalfd_siginfo info;
    while (read(master->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGCHLD:
            reap(master);
            break;
        case SIGTERM:
        case SIGINT:
        case SIGQUIT:
            stop(master);
            break;
        case SIGHUP:
            if (!master->stopping) {
                begin_reload(master);
            }
            break;
        default:
            break;
        }
    }
}

static void take_ready(struct slot *slot)
{
    char byte;
    ssize_t n = read(slot->ready, &byte, 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    slot->is_ready = n == 1;
    close(slot->ready);
    slot->ready = -1;
}

/* Once every worker is ready: say so, and let the workers of the earlier image drain. */
static void hand_over(struct master *master)
{
    for (int i = 0; i < master->options->workers; i++) {
        if (!master->slots[i].is_ready) {
            return;
        }
    }
    if (!master->old_told) {
        signal_old(master, SIGTERM);
        master->old_told = true;
    }
    if (!master->ready_told) {
        sd_notify(0, "READY=1");
        log_info("ready: %d workers with %d threads each", master->options->workers,
                 master->options->threads);
        master->ready_told = true;
    }
}

static void earlier(int64_t *at_us, int64_t candidate_us)
{
    if (candidate_us < *at_us) {
        *at_us = candidate_us;
    }
}

/* How long poll may sleep until something is due by the clock. */
static int sleep_ms(const struct master *master)
{
    int64_t now_us = clock_monotonic_us();
    int64_t at_us = now_us + 60 * USEC_PER_SEC;
    if (master->watchdog_us) {
        earlier(&at_us, master->watchdog_at_us);
    }
    if (master->stopping) {
        earlier(&at_us, master->kill_at_us);
    }
    for (int i = 0; i < master->options->workers && !master->stopping; i++) {
        if (!master->slots[i].pid) {
            earlier(&at_us, master->slots[i].start_at_us);
        }
    }
    return at_us <= now_us ? 0 : (int)((at_us - now_us) / 1000 + 1);
}

static void keep_time(struct master *master)
{
    int64_t now_us = clock_monotonic_us();
    if (master->watchdog_us && now_us >= master->watchdog_at_us) {
        sd_notify(0, "WATCHDOG=1");
        master->watchdog_at_us = now_us + master->watchdog_us;
    }
    if (master->stopping && now_us >= master->kill_at_us) {
        log_warn("workers did not end in time; killing them");
        signal_all(master, SIGKILL);
        master->kill_at_us = now_us + USEC_PER_SEC;
    }
}

static void run_once(struct master *master)
{
    struct pollfd fds[1 + WORKERS_MAX] = {{.fd = master->signals, .events = POLLIN}};
    struct slot *slots[1 + WORKERS_MAX] = {NULL};
    nfds_t count = 1;
    for (int i = 0; i < master->options->workers; i++) {
        if (master->slots[i].ready >= 0) {
            slots[count] = &master->slots[i];
            fds[count++] = (struct pollfd){.fd = master->slots[i].ready, .events = POLLIN};
        }
    }
    if (poll(fds, count, sleep_ms(master)) > 0) {
        for (nfds_t i = 1; i < count; i++) {
            if (fds[i].revents) {
                take_ready(slots[i]);
            }
        }
        if (fds[0].revents) {
            take_signals(master);
        }
    }
    if (master->check_ended) {
        finish_reload(master);
    }
    keep_time(master);
    start_due_workers(master);
    hand_over(master);
}

/* Beside the socket; without a name when that is no file, as for a test. */
static bool map_metrics(struct master *master, bool first)
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t size = sizeof(address);
    char path[sizeof(address.sun_path) + 16] = "";
    char names[METRICS_ROUTES][METRICS_NAME_SIZE];
    const char *rows[METRICS_ROUTES];
    size_t count = ROUTES_COUNT < METRICS_ROUTES ? ROUTES_COUNT : METRICS_ROUTES - 1;
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], METRICS_NAME_SIZE, "%s %s", ROUTES[i].method, ROUTES[i].pattern);
        rows[i] = names[i];
    }
    if (getsockname(LISTENER, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX &&
        address.sun_path[0] == '/') {
        size_t length = strnlen(address.sun_path, sizeof(address.sun_path));
        length -= length > 5 && strncmp(address.sun_path + length - 5, ".sock", 5) == 0 ? 5 : 0;
        snprintf(path, sizeof(path), "%.*s.metrics", (int)length, address.sun_path);
    }
    master->metrics =
        metrics_map(first ? -1 : master->metrics_fd, *path ? path : NULL, rows, count, &master->metrics_fd);
    return master->metrics;
}

static bool prepare(struct master *master)
{
    int is_listening = 0;
    socklen_t size = sizeof(is_listening);
    if (getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) != 0 || !is_listening) {
        log_error(
            "descriptor 0 is not a listening socket: start this program by spawn-fcgi -n, see tallygate-fcgi(8)");
        return false;
    }
    int flags = fcntl(LISTENER, F_GETFL);
    if (flags < 0 || fcntl(LISTENER, F_SETFL, flags | O_NONBLOCK) != 0) {
        log_error("the listening socket cannot be set non-blocking: %s", strerror(errno));
        return false;
    }
    block_signals();
    bool first = !read_state(master);
    master->old_told = first;
    if (first && pipe2(master->lifeline, 0) != 0) {
        log_error("no pipe: %s", strerror(errno));
        return false;
    }
    if (!map_metrics(master, first)) {
        log_error("no shared memory: %s", strerror(errno));
        return false;
    }
    sigset_t set;
    sigfillset(&set);
    master->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (master->signals < 0) {
        log_error("no signalfd: %s", strerror(errno));
        return false;
    }
    uint64_t watchdog_us = 0;
    if (sd_watchdog_enabled(0, &watchdog_us) > 0) {
        master->watchdog_us = (int64_t)watchdog_us / 2;
    }
    return true;
}

static void log_totals(const struct metrics *metrics)
{
    unsigned long long requests = 0, failed = 0;
    for (size_t i = 0; i < METRICS_ROUTES * METRICS_STATUSES; i++) {
        const struct metrics_histogram *histogram =
            &metrics->requests_us[i / METRICS_STATUSES][i % METRICS_STATUSES];
        for (size_t k = 0; k < METRICS_BUCKETS; k++) {
            unsigned long long n = atomic_load(&histogram->buckets[k]);
            requests += n;
            failed += METRICS_STATUS[i % METRICS_STATUSES] >= 500 ? n : 0;
        }
    }
    log_info(
        "stopped after %llu requests, of them %llu answered 5xx; %llu events recorded and %llu duplicates in "
        "%llu transactions; %llu workers replaced",
        requests, failed, (unsigned long long)atomic_load(&metrics->events_recorded),
        (unsigned long long)atomic_load(&metrics->events_duplicate),
        (unsigned long long)atomic_load(&metrics->ingest_batches),
        (unsigned long long)atomic_load(&metrics->workers_replaced));
}

int master_run(const struct master_options *options)
{
    struct master master = {.options = options, .metrics_fd = -1};
    for (int i = 0; i < WORKERS_MAX; i++) {
        master.slots[i].ready = -1;
    }
    if (!prepare(&master)) {
        return 1;
    }
    start_due_workers(&master);
    while (!master.stopping || any_alive(&master)) {
        run_once(&master);
    }
    log_totals(master.metrics);
    return 0;
}
