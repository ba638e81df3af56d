/* SPDX-License-Identifier: Apache-2.0 */
#include "base/metrics.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

const int64_t METRICS_TIMES_US[METRICS_BUCKETS - 1] = {500,   1000,   2500,   5000,   10000,   25000,
                                                       50000, 100000, 250000, 500000, 1000000, 5000000};
const int64_t METRICS_SIZES[METRICS_BUCKETS - 1] = {1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000};
const int METRICS_STATUS[METRICS_STATUSES] = {0,   200, 201, 202, 204, 207, 304, 400, 401, 403,
                                              404, 405, 406, 408, 409, 410, 411, 412, 413, 415,
                                              421, 422, 429, 431, 499, 500, 501, 503};

/* Raise this whenever a field changes its meaning; the size catches the rest. */
static const uint64_t FORMAT = 4;

/* FNV-1a, over the names of the routes: their places are the places of the counts. */
static uint64_t layout_of(const char *const *names, size_t count)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ (FORMAT << 32) ^ sizeof(struct metrics);
    for (size_t i = 0; i < count; i++) {
        for (const char *c = names[i]; *c; c++) {
            hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
        }
        hash = (hash ^ '\n') * UINT64_C(1099511628211);
    }
    return hash;
}

static struct metrics *map(int fd, int protection)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(struct metrics)) {
        return NULL;
    }
    void *p = mmap(NULL, sizeof(struct metrics), protection, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static struct metrics *map_fitting(int fd, uint64_t layout)
{
    struct metrics *metrics = map(fd, PROT_READ | PROT_WRITE);
    if (metrics && metrics->layout != layout) {
        munmap(metrics, sizeof(*metrics));
        metrics = NULL;
    }
    return metrics;
}

/* A file that is complete when it gets its name. -1 when none can be made. */
static int make_file(const char *path, char *ret_temporary, size_t size)
{
    if (!path || (size_t)snprintf(ret_temporary, size, "%s.new", path) >= size) {
        return -1;
    }
    (void)unlink(ret_temporary);
    return open(ret_temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0640);
}

static struct metrics *make(const char *path, const char *const *names, size_t count, int *ret_fd)
{
    char temporary[512];
    int fd = make_file(path, temporary, sizeof(temporary));
    bool named = fd >= 0;
    fd = named ? fd : memfd_create("tallygate-metrics", 0);
    /* All of it at once: on a full file system a hole would end whoever counts first. */
    if (named && posix_fallocate(fd, 0, sizeof(struct metrics)) != 0) {
        close(fd);
        (void)unlink(temporary);
        named = false;
        fd = memfd_create("tallygate-metrics", 0);
    }
    struct metrics *metrics =
        fd >= 0 && ftruncate(fd, sizeof(struct metrics)) == 0 ? map(fd, PROT_READ | PROT_WRITE) : NULL;
    if (!metrics) {
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    snprintf(metrics->routes[0], METRICS_NAME_SIZE, "none");
    for (size_t i = 0; i < count && i + 1 < METRICS_ROUTES; i++) {
        snprintf(metrics->routes[i + 1], METRICS_NAME_SIZE, "%s", names[i]);
    }
    atomic_store(&metrics->started_us, clock_now_us());
    metrics->layout = layout_of(names, count);
    if (named && rename(temporary, path) != 0) {
        (void)unlink(temporary); /* it counts on, only nobody can look */
    }
    *ret_fd = fd;
    return metrics;
}

struct metrics *metrics_map(int fd, const char *path, const char *const *names, size_t count, int *ret_fd)
{
    uint64_t layout = layout_of(names, count);
    struct metrics *metrics = map_fitting(fd, layout);
    if (metrics) {
        *ret_fd = fd;
        return metrics;
    }
    if (fd >= 0) {
        close(fd);
    }
    fd = path ? open(path, O_RDWR | O_NOFOLLOW) : -1;
    metrics = map_fitting(fd, layout);
    if (metrics) {
        *ret_fd = fd;
        metrics_clear_seat(metrics, 0);
        atomic_store(&metrics->started_us, clock_now_us());
        return metrics;
    }
    if (fd >= 0) {
        close(fd);
    }
    return make(path, names, count, ret_fd);
}

/* Whether what lies there is what this program would have made. */
static bool fits(const struct metrics *metrics)
{
    const char *names[METRICS_ROUTES];
    size_t count = 0;
    for (size_t i = 0; i < METRICS_ROUTES; i++) {
        if (metrics->routes[i][METRICS_NAME_SIZE - 1]) {
            return false;
        }
        if (i > 0 && *metrics->routes[i]) {
            names[count++] = metrics->routes[i];
        }
    }
    return metrics->layout == layout_of(names, count);
}

const struct metrics *metrics_open(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const struct metrics *metrics =
        fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? map(fd, PROT_READ) : NULL;
    if (fd >= 0) {
        close(fd);
    }
    if (metrics && !fits(metrics)) {
        metrics_close(metrics);
        return NULL;
    }
    return metrics;
}

void metrics_close(const struct metrics *metrics)
{
    if (metrics) {
        munmap((void *)(uintptr_t)metrics, sizeof(*metrics));
    }
}

/* ---- seats ---- */

static struct metrics_seat nobody;
static struct metrics_seat *own = &nobody;
static struct metrics *shared;

static int64_t cpu_counted_us;

static int64_t cpu_us(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * USEC_PER_SEC + used.tv_nsec / 1000;
}

void metrics_count_cpu(void)
{
    int64_t now_us = cpu_us();
    if (shared) {
        atomic_fetch_add_explicit(&shared->cpu_us, (uint64_t)(now_us - cpu_counted_us), memory_order_relaxed);
    }
    cpu_counted_us = now_us;
}

void metrics_sit_down(struct metrics *metrics)
{
    shared = metrics;
    cpu_counted_us = cpu_us(); /* an image before this one counted its own */
    for (size_t i = 0; i < METRICS_SEATS; i++) {
        int64_t none = 0;
        if (atomic_compare_exchange_strong(&metrics->seats[i].pid, &none, (int64_t)getpid())) {
            own = &metrics->seats[i];
            return;
        }
    }
}

struct metrics *metrics_own(void)
{
    return shared;
}

struct metrics_seat *metrics_seat(void)
{
    return own;
}

void metrics_clear_seat(struct metrics *metrics, pid_t pid)
{
    for (size_t i = 0; i < METRICS_SEATS; i++) {
        struct metrics_seat *seat = &metrics->seats[i];
        pid_t sits = (pid_t)atomic_load(&seat->pid);
        if (sits && (pid ? sits == pid : kill(sits, 0) != 0)) {
            atomic_store(&seat->ready, 0);
            atomic_store(&seat->requests, 0);
            atomic_store(&seat->queued, 0);
            atomic_store(&seat->pid, 0); /* the last: then another may sit down */
        }
    }
}

/* ---- counting ---- */

void metrics_add(struct metrics_histogram *histogram, const int64_t bounds[METRICS_BUCKETS - 1],
                 int64_t value)
{
    size_t i = 0;
    while (i < METRICS_BUCKETS - 1 && value > bounds[i]) {
        i++;
    }
    atomic_fetch_add_explicit(&histogram->buckets[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value > 0 ? (uint64_t)value : 0, memory_order_relaxed);
}

void metrics_count_request(struct metrics *metrics, ptrdiff_t route, int status, int64_t duration_us)
{
    size_t row = route >= 0 && route + 1 < METRICS_ROUTES ? (size_t)route + 1 : 0;
    size_t column = 0;
    for (size_t i = 1; i < METRICS_STATUSES && METRICS_STATUS[i]; i++) {
        if (METRICS_STATUS[i] == status) {
            column = i;
            break;
        }
    }
    metrics_add(&metrics->requests_us[row][column], METRICS_TIMES_US, duration_us);
}
