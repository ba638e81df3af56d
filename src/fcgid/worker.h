/* SPDX-License-Identifier: Apache-2.0 */
/* A worker process: request threads, a housekeeper, in the ingest pool a committer. */
#ifndef TALLYGATE_FCGID_WORKER_H
#define TALLYGATE_FCGID_WORKER_H

#include "base/config.h"
#include "base/metrics.h"
#include "http/router.h"

struct worker_options {
    const struct config *config;
    struct metrics *metrics;
    enum pool pool;
    int threads;
    int listener; /* non-blocking, shared with all workers */
    int lifeline; /* reads end-of-file when the master is gone */
    int ready;    /* one byte is written when requests are accepted; then it is closed */
};

/* Serve until SIGTERM or the master's end, drain, and end the process. All signals must be blocked
 * when it is called. */
_Noreturn void worker_run(const struct worker_options *options);

#endif
