/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the file of a run. It is kept, the run is told to be done, and report.generated to whoever wants to
 * hear of it, in one transaction; so a second time changes nothing.
 */
#ifndef TALLYGATE_REPORT_REPORT_MAKE_H
#define TALLYGATE_REPORT_REPORT_MAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/pg.h"

enum { REPORT_FILE_MAX = 32 * 1024 * 1024 };

/* `last`: a failure is the last one, and the run is told to have failed. ERR_OK also when there is nothing to
 * do, as the run is done or gone, or when it can never be made. */
enum err report_make(struct pg *pg, int64_t workspace_id, const char *run_id, bool last);

#endif
