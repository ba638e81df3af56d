/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events from a file, recorded as if they had come through the API, by the same committer: ids that are known
 * are duplicates, and everything counts. Unlike there they may be of any time since 1970.
 *
 * The file has what an export has (export.h), as CSV or NDJSON, plain or compressed by zstd. A line that is
 * not valid is told, and its neighbours are recorded. An import that was interrupted can be started again if
 * its events have ids of their own.
 */
#ifndef TALLYGATE_ANALYTICS_IMPORT_H
#define TALLYGATE_ANALYTICS_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/packed.h"
#include "base/progress.h"

enum import_format { IMPORT_NDJSON, IMPORT_CSV };

struct import {
    const struct config *config;
    int64_t workspace_id;
    enum import_format format;
    struct progress progress; /* in bytes of the file */
    /* A line that was not recorded, from 1, and why: a field and what is wrong with it. */
    void (*complain)(void *argument, int64_t line, const char *field, const char *message);
    void *argument;
};

struct import_counts {
    int64_t recorded;
    int64_t duplicates;
    int64_t rejected;
};

/* False after putting a line into ret_error, which has PACKED_ERROR_SIZE bytes; what was recorded until then
 * is counted. */
bool import_events(const struct import *import, const char *path, struct import_counts *ret_counts,
                   char *ret_error);

#endif
