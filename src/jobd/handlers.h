/* SPDX-License-Identifier: Apache-2.0 */
/* All types of jobs, and when some are due. */
#ifndef TALLYGATE_JOBD_HANDLERS_H
#define TALLYGATE_JOBD_HANDLERS_H

#include "work/runner.h"
#include "work/schedule.h"

extern const struct job_type JOB_TYPES[];
extern const size_t JOB_TYPES_COUNT;
extern const struct schedule SCHEDULES[];
extern const size_t SCHEDULES_COUNT;

#endif
