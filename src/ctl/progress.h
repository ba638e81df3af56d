/* SPDX-License-Identifier: Apache-2.0 */
/* A progress bar on standard error, where that is a terminal; else nothing. */
#ifndef TALLYGATE_CTL_PROGRESS_H
#define TALLYGATE_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/progress.h"

struct ctl_progress {
    const char *what;
    bool bytes; /* what is counted are bytes */
    bool shown;
    int64_t began_us;
    int64_t next_us;
};

/* Begin one, which is told of by what is returned. `bar` must live until its end. */
struct progress ctl_progress_begin(struct ctl_progress *bar, const char *what, bool bytes);
/* Take it away; nothing when none was shown. */
void ctl_progress_end(struct ctl_progress *bar);

#endif
