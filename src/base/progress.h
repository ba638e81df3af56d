/* SPDX-License-Identifier: Apache-2.0 */
/* How long work tells how far it is: so much of `total`, of whatever is counted; 0: nobody knows the total.
 */
#ifndef TALLYGATE_BASE_PROGRESS_H
#define TALLYGATE_BASE_PROGRESS_H

#include <stdint.h>

typedef void progress_teller(void *argument, int64_t done, int64_t total);

struct progress {
    progress_teller *tell; /* NULL: nobody wants to know */
    void *argument;
};

static inline void progress_tell(const struct progress *progress, int64_t done, int64_t total)
{
    if (progress->tell) {
        progress->tell(progress->argument, done, total);
    }
}

#endif
