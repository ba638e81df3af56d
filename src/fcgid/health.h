/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is it well? /health/live: the process answers. /health/ready: it can do its work, so a balancer
 * may send requests. /health: the same in detail; degraded means that it works, without Redis.
 */
#ifndef TALLYGATE_FCGID_HEALTH_H
#define TALLYGATE_FCGID_HEALTH_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

enum err health_show(struct request *request, struct response *response);
enum err health_live(struct request *request, struct response *response);
enum err health_ready(struct request *request, struct response *response);

#endif
