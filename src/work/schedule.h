/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs that are due by the calendar, each time zone's own. When one was due is in the database, so a time
 * that passed while nobody looked is made up once, and of several processes one puts the job in. A local time
 * that a change of clocks skips is taken at the moment of the change; one that comes twice counts the first
 * time.
 */
#ifndef TALLYGATE_WORK_SCHEDULE_H
#define TALLYGATE_WORK_SCHEDULE_H

#include <stddef.h>

#include "store/pg.h"

struct schedule {
    const char *name;
    const char *cron;
    const char *timezone;
    const char *type; /* of the job */
};

/* Let the table have these; what is due by the former times stays so, and all else
 * is reckoned anew. Others stay: they may be those of
 * a later version on another host. */
enum err schedule_install(struct pg *pg, const struct schedule *schedules, size_t count);
/* Put in what is due. Any process may call it, about every second. */
enum err schedule_run(struct pg *pg);

#endif
