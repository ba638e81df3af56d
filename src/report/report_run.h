/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of reports: asked for by a request, made by a background job (report_make.h), and kept with their
 * files for reports_keep_days.
 */
#ifndef TALLYGATE_REPORT_REPORT_RUN_H
#define TALLYGATE_REPORT_REPORT_RUN_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* How many of a workspace may wait or be made at once, and be asked for within a day: their files are kept.
 */
enum { REPORT_RUNS_OPEN = 10, REPORT_RUNS_DAY = 200 };

/* POST /reports/{id}/run: 202 {run_id, …} */
enum err report_run_start(struct request *request, struct response *response);
/* GET /reports/{id}/runs and /reports/{id}/runs/{run_id} */
enum err report_run_list(struct request *request, struct response *response);
enum err report_run_show(struct request *request, struct response *response);
/* GET /reports/{id}/runs/{run_id}/download. How it gets there is in report_file.h. */
enum err report_run_download(struct request *request, struct response *response);

#endif
