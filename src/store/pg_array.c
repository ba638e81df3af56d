/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pg_array.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

#include "base/clock.h"

/* PostgreSQL counts from 2000-01-01. */
static const int64_t POSTGRES_EPOCH_US = INT64_C(946684800) * USEC_PER_SEC;

enum { COUNT_OFFSET = 12, HEADER_SIZE = 20 };

static void put32(struct buf *buf, uint32_t value)
{
    uint32_t wire = htonl(value);
    buf_append(buf, &wire, sizeof(wire));
}

void pg_array_init(struct pg_array *array, size_t max_bytes)
{
    buf_init(&array->buf, max_bytes);
    array->count = 0;
}

void pg_array_free(struct pg_array *array)
{
    buf_free(&array->buf);
}

void pg_array_start(struct pg_array *array, enum pg_type type)
{
    buf_reset(&array->buf);
    array->count = 0;
    put32(&array->buf, 1); /* dimensions */
    put32(&array->buf, 1); /* may hold NULLs */
    put32(&array->buf, (uint32_t)type);
    put32(&array->buf, 0); /* number of elements, filled in at the end */
    put32(&array->buf, 1); /* lower bound */
}

void pg_array_bytes(struct pg_array *array, const void *data, size_t length)
{
    put32(&array->buf, (uint32_t)length);
    buf_append(&array->buf, data, length);
    array->count++;
}

void pg_array_int(struct pg_array *array, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);
    pg_array_bytes(array, &wire, sizeof(wire));
}

void pg_array_time(struct pg_array *array, int64_t us)
{
    pg_array_int(array, us - POSTGRES_EPOCH_US);
}

void pg_array_null(struct pg_array *array)
{
    put32(&array->buf, UINT32_MAX);
    array->count++;
}

void pg_array_param(struct pg_params *params, struct pg_array *array)
{
    uint32_t wire = htonl(array->count);
    if (array->buf.length >= HEADER_SIZE) {
        memcpy(array->buf.data + COUNT_OFFSET, &wire, sizeof(wire));
    }
    pg_bytes(params, array->buf.data, array->buf.length);
}
