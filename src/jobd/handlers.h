/* SPDX-License-Identifier: Apache-2.0 */
/* What the types of jobs do (work/types.h), and when some are due. */
#ifndef TALLYGATE_JOBD_HANDLERS_H
#define TALLYGATE_JOBD_HANDLERS_H

#include "work/runner.h"
#include "work/schedule.h"

extern job_handler *const HANDLERS[WORK_TYPES];
extern const struct schedule SCHEDULES[];
extern const size_t SCHEDULES_COUNT;

#endif
