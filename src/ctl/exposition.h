/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pools' counts as OpenMetrics 1.0 text. Each pool has a file beside its socket (base/metrics.h), which
 * is read without asking the pool: so a pool that is full, hangs or is gone is told of like any other, and
 * being looked at costs it nothing. Of a pool without a file is told that it has no worker.
 */
#ifndef TALLYGATE_CTL_EXPOSITION_H
#define TALLYGATE_CTL_EXPOSITION_H

#include "base/buf.h"
#include "base/metrics.h"
#include "ctl/legacy.h"

/* The last one is tallygate-jobd, which answers no requests but counts jobs in the same way. */
enum { EXPOSITION_HTTP = 3, EXPOSITION_JOBD = 3, EXPOSITION_POOLS = 4 };
extern const char *const EXPOSITION_NAMES[EXPOSITION_POOLS];
#define EXPOSITION_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Map those that are in `directory`; NULL for one that has none. Close them with metrics_close(). */
void exposition_open(const char *directory, const struct metrics *ret_pools[EXPOSITION_POOLS]);
/* Write all of it, with `# EOF`; `legacy` may be NULL. */
void exposition_write(const struct metrics *const pools[EXPOSITION_POOLS], struct legacy *legacy,
                      struct buf *text);

/* The sum over the seats of those whose process is alive; `offset` is that of a member of struct
 * metrics_seat. */
int64_t exposition_gauge(const struct metrics *metrics, size_t offset);
/* Answers with a status from `least` on. */
uint64_t exposition_answers(const struct metrics *metrics, int least);

#endif
