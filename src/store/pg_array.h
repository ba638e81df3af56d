/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays in PostgreSQL's binary format (array_recv in src/backend/utils/adt/arrayfuncs.c): one
 * parameter carries a column of a whole batch, without quoting or parsing of text.
 */
#ifndef TALLYGATE_STORE_PG_ARRAY_H
#define TALLYGATE_STORE_PG_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/pg.h"

enum pg_type {
    PG_TYPE_BOOL = 16,
    PG_TYPE_INT8 = 20,
    PG_TYPE_TEXT = 25,
    PG_TYPE_TIMESTAMPTZ = 1184,
    PG_TYPE_UUID = 2950
};

struct pg_array {
    struct buf buf;
    uint32_t count;
};

/* `max_bytes` bounds the whole array. Memory is kept between uses. */
void pg_array_init(struct pg_array *array, size_t max_bytes);
void pg_array_free(struct pg_array *array);
/* Start anew with elements of `type`. */
void pg_array_start(struct pg_array *array, enum pg_type type);
void pg_array_int(struct pg_array *array, int64_t value);
void pg_array_time(struct pg_array *array, int64_t us); /* Unix microseconds */
void pg_array_bytes(struct pg_array *array, const void *data, size_t length);
void pg_array_null(struct pg_array *array);
/* Finish and add as the next parameter; the array must stay untouched until the call is over. */
void pg_array_param(struct pg_params *params, struct pg_array *array);

#endif
