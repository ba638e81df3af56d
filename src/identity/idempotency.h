/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a client that does not know whether its POST
 * arrived sends it again under the same key, and gets the answer of the first. The key, what was asked and
 * the answer are stored in the transaction that makes what was asked for, so one is there exactly when the
 * other is. They are kept for a day, the answer sealed with the master secret: it may hold what is shown
 * once.
 *
 * A key belongs to who asks. Of two requests with one key at once the second gets 409. What fails is not
 * stored: it may be tried again under its key.
 */
#ifndef TALLYGATE_IDENTITY_IDEMPOTENCY_H
#define TALLYGATE_IDENTITY_IDEMPOTENCY_H

#include "base/err.h"
#include "http/request.h"
#include "http/response.h"
#include "http/router.h"

/* Run a handler, or answer as it did before. Without the header it is just run. */
enum err idempotency_run(struct request *request, struct response *response, route_handler *handler);

/* Drop some answers of more than a day ago. *ret_more: there may be others. */
enum err idempotency_prune(struct pg *pg, bool *ret_more);

#endif
