/* SPDX-License-Identifier: Apache-2.0 */
/* All types of background jobs. What they do is in jobd/handlers.c, in the same order. */
#ifndef TALLYGATE_WORK_TYPES_H
#define TALLYGATE_WORK_TYPES_H

#include "work/queue.h"

enum work_type {
    WORK_EVENTS_RELAY,
    WORK_EVENTS_STREAM,
    WORK_KEYS_CHECK,
    WORK_MAIL_SEND,
    WORK_NOTHING,
    WORK_PARTITIONS_MAKE,
    WORK_REPORTS_MAKE,
    WORK_WEBHOOKS_DELIVER,
    WORK_WORKSPACES_PURGE,
    WORK_TYPES
};

/* After the last one a report is given up, and its run says so. */
enum { WORK_REPORT_ATTEMPTS = 4 };

struct work_limits {
    struct queue_type queue; /* name, how many at once, attempts */
    int64_t soft_limit_s;    /* then a job is asked to end */
    int64_t hard_limit_s;    /* and then its process ends */
    int64_t backoff_s;       /* before the second attempt; twice as long before each further one */
    int64_t backoff_max_s;
};

extern const struct work_limits WORK_LIMITS[WORK_TYPES];

/* Whether there is a type of that name. */
bool work_type_exists(const char *name);

#endif
