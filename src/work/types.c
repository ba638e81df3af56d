/* SPDX-License-Identifier: Apache-2.0 */
#include "work/types.h"

#include <string.h>

enum { SOFT_S = 25 * 60, HARD_S = 30 * 60, ATTEMPTS = 8, BACKOFF_S = 5, BACKOFF_MAX_S = 3600 };

const struct work_limits WORK_LIMITS[WORK_TYPES] = {
    [WORK_EVENTS_RELAY] = {{"events.relay", 1, ATTEMPTS}, SOFT_S, HARD_S, 1, 60},
    [WORK_EVENTS_STREAM] = {{"events.stream", 1, ATTEMPTS}, SOFT_S, HARD_S, 1, 60},
    [WORK_KEYS_CHECK] = {{"keys.check", 1, ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, BACKOFF_MAX_S},
    [WORK_MAIL_SEND] = {{"mail.send", 2, ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, 300},
    [WORK_NOTHING] = {{"nothing", QUEUE_NO_LIMIT, ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, BACKOFF_MAX_S},
    [WORK_PARTITIONS_MAKE] = {{"partitions.make", 1, ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, BACKOFF_MAX_S},
    [WORK_REPORTS_MAKE] = {{"reports.make", 2, WORK_REPORT_ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, 60},
    [WORK_WEBHOOKS_DELIVER] = {{"webhooks.deliver", 1, ATTEMPTS}, SOFT_S, HARD_S, 1, 60},
    [WORK_WORKSPACES_PURGE] = {{"workspaces.purge", 1, ATTEMPTS}, SOFT_S, HARD_S, BACKOFF_S, BACKOFF_MAX_S},
};

bool work_type_exists(const char *name)
{
    for (size_t i = 0; i < WORK_TYPES; i++) {
        if (strcmp(WORK_LIMITS[i].queue.name, name) == 0) {
            return true;
        }
    }
    return false;
}
