/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords come from standard input, never from an argument, which everybody on the machine can see. */
#ifndef TALLYGATE_CTL_SECRET_H
#define TALLYGATE_CTL_SECRET_H

#include <stdbool.h>

enum { CTL_SECRET_MAX = 1024 };

/* One line of standard input, without its end. At a terminal it is asked for twice, and not shown. False
 * after saying why; wipe the text in the end. */
bool ctl_read_secret(const char *what, char ret_text[CTL_SECRET_MAX]);

#endif
