/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

enum { WIDTH = 30, EVERY_US = 100000 };

/* 12.3 MB, or 12.3 million. */
static void put_amount(const struct ctl_progress *bar, double amount)
{
    static const char *const BYTES[] = {"B", "kB", "MB", "GB", "TB"};
    static const char *const COUNTS[] = {"", "thousand", "million", "billion", "trillion"};
    size_t step = 0;
    while (amount >= 1000 && step < 4) {
        amount /= 1000;
        step++;
    }
    if (step) {
        fprintf(stderr, "%.1f %s", amount, (bar->bytes ? BYTES : COUNTS)[step]);
    } else {
        fprintf(stderr, bar->bytes ? "%.0f B" : "%.0f", amount);
    }
}

static void tell(void *argument, int64_t done, int64_t total)
{
    struct ctl_progress *bar = argument;
    int64_t now_us = clock_monotonic_us();
    if (now_us < bar->next_us) {
        return;
    }
    bar->next_us = now_us + EVERY_US;
    bar->shown = true;
    fprintf(stderr, "\r%s ", bar->what);
    if (total > 0) {
        int share = (int)(done >= total ? 100 : done * 100 / total);
        int filled = share * WIDTH / 100;
        fprintf(stderr, "[%.*s%*s] %3d %%  ", filled, "##############################", WIDTH - filled, "",
                share);
    }
    put_amount(bar, (double)done);
    double seconds = (double)(now_us - bar->began_us) / 1e6;
    if (seconds > 0.5) {
        fputs(", ", stderr);
        put_amount(bar, (double)done / seconds);
        fputs("/s", stderr);
    }
    fputs("\033[K", stderr);
    fflush(stderr);
}

struct progress ctl_progress_begin(struct ctl_progress *bar, const char *what, bool bytes)
{
    *bar = (struct ctl_progress){.what = what, .bytes = bytes, .began_us = clock_monotonic_us()};
    return (struct progress){isatty(STDERR_FILENO) ? tell : NULL, bar};
}

void ctl_progress_end(struct ctl_progress *bar)
{
    if (bar->shown) {
        fputs("\r\033[K", stderr);
        bar->shown = false;
    }
}
