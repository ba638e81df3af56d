/* SPDX-License-Identifier: Apache-2.0 */
/* Background work (work/queue.h) as administrators see it, and what they may do about it; each change has its
 * audit entry. */
#ifndef TALLYGATE_IDENTITY_BACKGROUND_H
#define TALLYGATE_IDENTITY_BACKGROUND_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"

/* GET /admin/jobs?state=&type=&limit=&cursor=: the latest first; of those that are done only with state=done.
 */
enum err background_list(struct request *request, struct response *response);
/* POST /admin/jobs: {type, payload?, priority?, run_at?} */
enum err background_put(struct request *request, struct response *response);
/* GET /admin/jobs/{id} */
enum err background_show(struct request *request, struct response *response);
/* POST /admin/jobs/{id}/retry: a dead one waits again, with all its attempts. */
enum err background_retry(struct request *request, struct response *response);
/* DELETE /admin/jobs/{id}: one that waits or is dead. */
enum err background_discard(struct request *request, struct response *response);
/* GET /admin/schedules: what is due when. */
enum err background_schedules(struct request *request, struct response *response);

#endif
