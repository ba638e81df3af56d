/* SPDX-License-Identifier: Apache-2.0 */
/* What several subcommands do with partitions of events that are past; analytics/archive.h does it. */
#ifndef TALLYGATE_CTL_PAST_H
#define TALLYGATE_CTL_PAST_H

#include "ctl/ctl.h"

/* Words of tallygatectl events. */
int past_archive(struct ctl *ctl, int argc, char **argv);
int past_prune(struct ctl *ctl, int argc, char **argv);

/* Archive and drop every partition that ends before `day` (YYYY-MM-DD), or only drop it when `directory` is
 * NULL. Each is an item of `items`. */
int past_prune_before(struct ctl *ctl, const char *command, const char *day, const char *directory,
                      struct json_object *items);
/* Bring the events of an archive back. */
int past_restore(struct ctl *ctl, const char *path);

#endif
