/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka wants its standard headers first. */
#ifndef TALLYGATE_TESTS_TEST_H
#define TALLYGATE_TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

#define RUN(tests) cmocka_run_group_tests(tests, NULL, NULL)

#endif
