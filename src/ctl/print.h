/* SPDX-License-Identifier: Apache-2.0 */
/* What a subcommand found: JSON with --json, else the same for people. */
#ifndef TALLYGATE_CTL_PRINT_H
#define TALLYGATE_CTL_PRINT_H

#include <json-c/json.h>

#include "ctl/ctl.h"

/* An object: a line for each member. One with a list `items`: a table, the members of the first item as
 * columns, and `none` when it is empty. */
void ctl_print(const struct ctl *ctl, struct json_object *object, const char *none);

#endif
