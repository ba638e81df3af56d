/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A door that so many may be behind at once. It bounds what a costly kind of work takes of memory or time,
 * however many threads there are.
 */
#ifndef TALLYGATE_BASE_GATE_H
#define TALLYGATE_BASE_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct gate;

struct gate *gate_new(int places);
void gate_free(struct gate *gate);
/* Wait for a place until `deadline_us` (monotonic); false when there was none. */
bool gate_enter(struct gate *gate, int64_t deadline_us);
void gate_leave(struct gate *gate);

#endif
