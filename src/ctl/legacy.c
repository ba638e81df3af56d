/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/legacy.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum { ROUTES_MAX = 16, ROUTE_SIZE = 40, LINE_MAX = 512, TAKE_MAX = 1000 };
enum outcome { REDIRECT, PROXY, GONE, OUTCOMES };

static const char *const WORDS[OUTCOMES] = {"redirect", "proxy", "gone"};

struct legacy {
    int fd;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    pthread_mutex_t lock;
    size_t count;
    struct {
        char route[ROUTE_SIZE];
        uint64_t requests[OUTCOMES];
    } rows[ROUTES_MAX];
};

struct legacy *legacy_open(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct legacy *legacy = mem_zalloc(1, sizeof(*legacy));
    int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/legacy.sock", directory);
    legacy->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    errno = ENAMETOOLONG;
    bool fits = length > 0 && (size_t)length < sizeof(address.sun_path);
    if (fits) {
        (void)unlink(address.sun_path);
        fits = legacy->fd >= 0 && bind(legacy->fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
               chmod(address.sun_path, 0660) == 0;
    }
    if (!fits) {
        fprintf(stderr, "tallygatectl: %s: %s; requests of old paths are not counted\n", address.sun_path,
                strerror(errno));
        if (legacy->fd >= 0) {
            close(legacy->fd);
        }
        free(legacy);
        return NULL;
    }
    snprintf(legacy->path, sizeof(legacy->path), "%s", address.sun_path);
    pthread_mutex_init(&legacy->lock, NULL);
    return legacy;
}

void legacy_close(struct legacy *legacy)
{
    if (legacy) {
        (void)unlink(legacy->path);
        close(legacy->fd);
        pthread_mutex_destroy(&legacy->lock);
        free(legacy);
    }
}

int legacy_event(const struct legacy *legacy)
{
    return legacy->fd;
}

/* Whoever may write to the socket is trusted with numbers, and with no more: names and their number are
 * bounded. */
static bool is_route(const char *text, size_t length)
{
    return length > 1 && length < ROUTE_SIZE && *text == '/' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz/{}_") == length; /* a blank follows */
}

static void count(struct legacy *legacy, const char *route, size_t length, enum outcome outcome)
{
    size_t row = 0;
    while (row < legacy->count &&
           (strncmp(legacy->rows[row].route, route, length) != 0 || legacy->rows[row].route[length])) {
        row++;
    }
    if (row == ROUTES_MAX) {
        return;
    }
    if (row == legacy->count) {
        memcpy(legacy->rows[row].route, route, length);
        legacy->count++;
    }
    legacy->rows[row].requests[outcome]++;
}

/* "<190>Nov 28 20:05:20 nginx: /register 308" (RFC 3164) */
static void take_line(struct legacy *legacy, char *line)
{
    char *route = strstr(line, ": ");
    char *blank = route ? strchr(route + 2, ' ') : NULL;
    if (!blank || !is_route(route + 2, (size_t)(blank - route - 2)) ||
        strspn(blank + 1, "0123456789") != strlen(blank + 1)) {
        return;
    }
    long status = strtol(blank + 1, NULL, 10);
    count(legacy, route + 2, (size_t)(blank - route - 2),
          status == 308   ? REDIRECT
          : status == 410 ? GONE
                          : PROXY);
}

void legacy_take(struct legacy *legacy)
{
    char line[LINE_MAX];
    pthread_mutex_lock(&legacy->lock);
    for (int i = 0; i < TAKE_MAX; i++) {
        ssize_t n = recv(legacy->fd, line, sizeof(line) - 1, 0);
        if (n <= 0) {
            break;
        }
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        take_line(legacy, line);
    }
    pthread_mutex_unlock(&legacy->lock);
}

void legacy_write(struct legacy *legacy, struct buf *text)
{
    if (!legacy) {
        return;
    }
    pthread_mutex_lock(&legacy->lock);
    for (size_t row = 0; row < legacy->count; row++) {
        for (size_t outcome = 0; outcome < OUTCOMES; outcome++) {
            if (legacy->rows[row].requests[outcome]) {
                buf_printf(text, "legacy_requests_total{route=\"%s\",outcome=\"%s\"} %" PRIu64 "\n",
                           legacy->rows[row].route, WORDS[outcome], legacy->rows[row].requests[outcome]);
            }
        }
    }
    pthread_mutex_unlock(&legacy->lock);
}
