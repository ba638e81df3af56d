/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs as administrators see them. Each answer is for the caller to free. */
#ifndef TALLYGATE_WORK_JOBS_H
#define TALLYGATE_WORK_JOBS_H

#include <json-c/json.h>
#include <stdint.h>

#include "store/pg.h"
#include "work/queue.h"

/* {items}: the latest first. `state` is waiting, running, dead or done; NULL: all but done. `type` may be
 * NULL. */
enum err jobs_list(struct pg *pg, const char *state, const char *type, int64_t limit,
                   struct json_object **ret_jobs);
/* One, also when it is done. ERR_NOT_FOUND when there is none. */
enum err jobs_show(struct pg *pg, int64_t id, struct json_object **ret_job);
/* Let a dead one wait again, with all its attempts; or delete one that is dead or waits. ERR_NOT_FOUND when
 * it is not so. The job is as it is, or was. */
enum err jobs_retry(struct pg *pg, int64_t id, struct json_object **ret_job);
enum err jobs_discard(struct pg *pg, int64_t id, struct json_object **ret_job);
/* Put `count` of the same in. */
enum err jobs_put(struct pg *pg, const struct queue_order *order, int64_t count);
/* {items}: what is due when. */
enum err jobs_schedules(struct pg *pg, struct json_object **ret_schedules);

#endif
