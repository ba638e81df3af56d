/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TALLYGATE_FCGID_ROUTES_H
#define TALLYGATE_FCGID_ROUTES_H

#include <stddef.h>

#include "http/router.h"

extern const struct route ROUTES[];
extern const size_t ROUTES_COUNT;

#endif
