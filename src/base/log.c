/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of requests are many and nobody waits for one, so in a worker they gather and go out together: a
 * write(2) a line costs each request some ten microseconds, most of them in the lock of the file that all
 * threads share. They gather for GATHER_MS, or until GATHER_BYTES; the thread that writes them sleeps while
 * there are none. All other lines go out at once, after those that have gathered. A worker that is killed
 * takes at most the lines of GATHER_MS with it; nginx has logged those requests too.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

enum { LINE_MAX_BYTES = 16384, MESSAGE_MAX_BYTES = 2048, GATHER_BYTES = 64 * 1024, GATHER_MS = 100 };

static const char *const LEVEL_NAMES[] = {[LOG_LEVEL_ERROR] = "error",
                                          [LOG_LEVEL_WARN] = "warn",
                                          [LOG_LEVEL_INFO] = "info",
                                          [LOG_LEVEL_DEBUG] = "debug"};

static struct {
    const char *service;
    const char *pool;
    enum log_level level;
} setup = {"tallygate", NULL, LOG_LEVEL_INFO};

static _Thread_local const struct log_request *current;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* lines are there, or it is time to stop */
    pthread_t writer;
    bool on;
    struct buf lines;
} gathered = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER};

void log_setup(const char *service, const char *pool, enum log_level level)
{
    setup.service = service;
    setup.pool = pool;
    setup.level = level;
}

void log_set_request(const struct log_request *request)
{
    current = request;
}

/* The line that this thread builds; its memory is kept until log_thread_end(). */
static _Thread_local struct buf line;

static void put_member(const char *name, const char *text)
{
    if (text) {
        buf_printf(&line, ",\"%s\":", name);
        buf_put_json_string(&line, text, strlen(text));
    }
}

static void start_line(enum log_level level)
{
    char now[CLOCK_TEXT_SIZE];
    if (!line.max_bytes) {
        buf_init(&line, LINE_MAX_BYTES);
    }
    clock_format(clock_now_us(), now);
    buf_printf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"service\":\"%s\"", now, LEVEL_NAMES[level],
               setup.service);
    put_member("pool", setup.pool);
    buf_printf(&line, ",\"pid\":%d", (int)getpid());
    if (current) {
        put_member("request_id", current->request_id);
        put_member("trace_id", current->trace_id);
        put_member("method", current->method);
        put_member("route", current->route);
        if (current->user_id) {
            buf_printf(&line, ",\"user_id\":%lld", (long long)current->user_id);
        }
    }
}

static void write_out(const struct buf *lines)
{
    size_t done = 0;
    while (done < lines->length) {
        ssize_t n = write(STDERR_FILENO, lines->data + done, lines->length - done);
        if (n < 0 && errno != EINTR) {
            break; /* nowhere left to say it */
        }
        done += n > 0 ? (size_t)n : 0;
    }
}

/* The lock is held. */
static void write_gathered(void)
{
    write_out(&gathered.lines);
    buf_reset(&gathered.lines);
}

static void end_line(bool may_wait)
{
    buf_puts(&line, "}\n");
    if (!line.overflow) {
        pthread_mutex_lock(&gathered.lock);
        if (gathered.lines.length + line.length > GATHER_BYTES) {
            write_gathered();
        }
        if (may_wait && gathered.on) {
            if (gathered.lines.length == 0) {
                pthread_cond_signal(&gathered.filled);
            }
            buf_append(&gathered.lines, line.data, line.length);
        } else {
            write_gathered();
            write_out(&line);
        }
        pthread_mutex_unlock(&gathered.lock);
    }
    buf_reset(&line);
}

static void *run_writer(void *argument)
{
    static const struct timespec PAUSE = {.tv_nsec = GATHER_MS * 1000000L};
    (void)argument;
    pthread_mutex_lock(&gathered.lock);
    while (gathered.on) {
        if (gathered.lines.length == 0) {
            pthread_cond_wait(&gathered.filled, &gathered.lock);
            continue;
        }
        pthread_mutex_unlock(&gathered.lock);
        nanosleep(&PAUSE, NULL);
        pthread_mutex_lock(&gathered.lock);
        write_gathered();
    }
    pthread_mutex_unlock(&gathered.lock);
    return NULL;
}

bool log_gather_start(void)
{
    buf_init(&gathered.lines, GATHER_BYTES);
    pthread_mutex_lock(&gathered.lock);
    gathered.on = pthread_create(&gathered.writer, NULL, run_writer, NULL) == 0;
    bool on = gathered.on;
    pthread_mutex_unlock(&gathered.lock);
    return on;
}

void log_gather_stop(void)
{
    pthread_mutex_lock(&gathered.lock);
    bool was_on = gathered.on;
    gathered.on = false;
    write_gathered();
    pthread_cond_signal(&gathered.filled);
    pthread_mutex_unlock(&gathered.lock);
    if (was_on) {
        pthread_join(gathered.writer, NULL);
        buf_free(&gathered.lines);
    }
}

void log_thread_end(void)
{
    buf_free(&line);
}

static void log_line(enum log_level level, const char *format, va_list args)
{
    if (level > setup.level) {
        return;
    }
    int saved_errno = errno;
    char message[MESSAGE_MAX_BYTES];
    vsnprintf(message, sizeof(message), format, args);
    size_t length = strlen(message);
    while (length && (message[length - 1] == '\n' || message[length - 1] == ' ')) {
        message[--length] = '\0'; /* libpq ends its messages with a newline */
    }
    start_line(level);
    put_member("message", message);
    end_line(false);
    errno = saved_errno;
}

#define DEFINE_LOG(function, level)        \
    void function(const char *format, ...) \
    {                                      \
        va_list args;                      \
        va_start(args, format);            \
        log_line(level, format, args);     \
        va_end(args);                      \
    }

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warn, LOG_LEVEL_WARN)
DEFINE_LOG(log_info, LOG_LEVEL_INFO)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)

void log_access(int status, int64_t duration_us)
{
    if (setup.level < LOG_LEVEL_INFO) {
        return;
    }
    start_line(LOG_LEVEL_INFO);
    buf_printf(&line, ",\"status\":%d,\"duration_ms\":%.3f,\"message\":\"request\"", status,
               (double)duration_us / 1000.0);
    end_line(true);
}
