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
#include "store/pg.h"

/* GET and POST /reports; GET, PATCH and DELETE /reports/{id}. */
enum err report_list(struct request *request, struct response *response);
enum err report_create(struct request *request, struct response *response);
enum err report_show(struct request *request, struct response *response);
enum err report_change(struct request *request, struct response *response);
enum err report_delete(struct request *request, struct response *response);

/* The parameters that all statements about one begin with: workspace and id. ERR_NOT_FOUND, said, when its id
 * is none. */
enum err report_params(struct request *request, struct pg_params *params);
enum err report_unknown(struct request *request);

#endif
