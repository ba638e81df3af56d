/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of reports: asked for by a request, made by a background job (report_make.h), and kept with their
 * files for reports_keep_days.
 *
 * A file is in the database, so every host has it and a backup too. The host that is asked for it puts it
 * into its cache_dir, from where nginx sends it (X-Accel-Redirect): ranges, slow readers and repeats cost no
 * thread of a pool. What lies there unasked for a day is the business of systemd-tmpfiles.
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
/* GET /reports/{id}/runs/{run_id}/download. An administrator at a shell gets it in pieces. */
enum err report_run_download(struct request *request, struct response *response);

#endif
