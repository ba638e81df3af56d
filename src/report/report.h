/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports: what one shows, of which days and in which form. Each time that one is made is a run of its own
 * (report_run.h).
 */
#ifndef TALLYGATE_REPORT_REPORT_H
#define TALLYGATE_REPORT_REPORT_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET and POST /reports; GET, PATCH and DELETE /reports/{id}. */
enum err report_list(struct request *request, struct response *response);
enum err report_create(struct request *request, struct response *response);
enum err report_show(struct request *request, struct response *response);
enum err report_change(struct request *request, struct response *response);
enum err report_delete(struct request *request, struct response *response);

/* What it is called. */
#define REPORT_KIND "report"

#endif
