/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a subcommand: long ones, anywhere among its arguments. */
#ifndef TALLYGATE_CTL_OPTIONS_H
#define TALLYGATE_CTL_OPTIONS_H

#include <getopt.h>
#include <json-c/json.h>

/* Read those in `options`, whose member `val` is its place in `ret_texts`: what was given, "" for a flag,
 * NULL when it was not there. argv[0] is the word that they follow. Returns the place of the first argument,
 * which come after all options then; -1 after saying what is wrong. */
int ctl_read_options(int argc, char **argv, const struct option *options, const char **ret_texts);

/* A list of texts from words parted by commas, as in "events:write,analytics:read"; for the caller to free.
 */
struct json_object *ctl_read_list(const char *text);

#endif
