/* SPDX-License-Identifier: Apache-2.0 */
/* The master of one pool: it owns the workers. */
#ifndef TALLYGATE_FCGID_MASTER_H
#define TALLYGATE_FCGID_MASTER_H

#include "base/config.h"
#include "http/router.h"

struct master_options {
    const struct config *config;
    enum pool pool;
    int workers;
    int threads;
    char *const *argv;       /* our own, to start anew with on reload */
    const char *program;     /* path of the binary on disk */
    const char *config_path; /* NULL: defaults alone */
};

/* Run the pool on the listening socket at descriptor 0 until SIGTERM; returns the exit code. */
int master_run(const struct master_options *options);

#endif
