/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One PostgreSQL connection, owned by one thread. It connects when it is first needed, heals by
 * itself with backoff, and never blocks past its deadline.
 *
 * Every function that asks the server returns
 *   ERR_OK           done
 *   ERR_UNAVAILABLE  the server is away, too slow, shutting down, or asks for a retry
 *   ERR_CONFLICT     a unique key is taken
 *   ERR_INVALID      the server refuses the data (SQLSTATE classes 22 and 23)
 *   ERR_INTERNAL     anything else; it was logged, as only this layer knows the server's words
 */
#ifndef TALLYGATE_STORE_PG_H
#define TALLYGATE_STORE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct pg;

struct pg_options {
    const char *url; /* libpq connection string */
    const char *application_name;
    int64_t connect_timeout_s; /* for each host; libpq takes 2 at the least */
    int64_t statement_timeout_ms;
    bool plan_anew; /* each time: for tables that are empty at one moment and full at the next */
    bool as_role; /* root connects as the system user of the role's name (store/pg_peer.h); one thread only */
};

/* A statement with a name: prepared once a connection, then only executed. Define it static. */
struct pg_statement {
    const char *name;
    const char *sql;
};

enum { PG_PARAMS_MAX = 16 };

/* Parameters in order; texts are not copied and must live until the call is over. */
struct pg_params {
    int count;
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int formats[PG_PARAMS_MAX];
    char numbers[PG_PARAMS_MAX][24];
};

void pg_text(struct pg_params *params, const char *text_or_null);
void pg_int(struct pg_params *params, int64_t value);
/* bytea, or a value in binary format. */
void pg_bytes(struct pg_params *params, const void *data, size_t length);

/* Whether libpq can read `url`; else *ret_reason says so, without repeating it: it may hold a password. */
bool pg_url_valid(const char *url, const char **ret_reason);
/* Nothing is connected yet. `options` and its texts must outlive the handle. */
struct pg *pg_new(const struct pg_options *options);
void pg_free(struct pg *pg);

/* Connect when needed; fails at once while a backoff runs. */
enum err pg_ready(struct pg *pg);
/* Run one statement. ret_result may be NULL when the rows do not matter. */
enum err pg_query(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
                  PGresult **ret_result);
/* Take one row, which is row 0 of `row`. False when no more are wanted. */
typedef bool pg_row_taker(void *argument, const PGresult *row);
/* Run one statement and hand over its rows one by one, as they come, so that the memory is that of one row.
 * When `take` wants no more, the connection is closed and the result is ERR_OK. */
enum err pg_each(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
                 pg_row_taker *take, void *argument);

struct pg_copy {
    const char *name;    /* for the log */
    const char *select;  /* $N is the N-th parameter, all of which are texts */
    const char *options; /* what stands in the parentheses of COPY … TO STDOUT (…) */
    int64_t limit_ms;    /* for the whole statement, instead of the connection's limit */
};
/* Take one row as the server formats it. NULL only asks, while nothing comes, whether more is wanted. */
typedef bool pg_copy_taker(void *argument, const char *row, size_t length);
/* COPY the rows of a SELECT out, in constant memory. Besides `limit_ms`, each wait for the server has the
 * limit of any statement. When `take` wants no more, the connection is closed and the result is ERR_OK. */
enum err pg_copy_out(struct pg *pg, const struct pg_copy *copy, const struct pg_params *params,
                     pg_copy_taker *take, void *argument);
/* Run text that may hold several statements, without parameters. */
enum err pg_script(struct pg *pg, const char *sql);
/* True when the last failure left it unknown whether a statement took effect. */
bool pg_outcome_unknown(const struct pg *pg);
/* The SQLSTATE of the last error, or "". */
const char *pg_sqlstate(const struct pg *pg);
/* Drop the connection; the next use makes another. */
void pg_disconnect(struct pg *pg);
/* Grows by one with each connection, so that state kept by session can be made anew. */
uint64_t pg_generation(const struct pg *pg);

/* BEGIN … COMMIT around `body`. A failure rolls back and is returned. Within the body of another one `body`
 * is part of that: what fails must fail there too. */
enum err pg_transaction(struct pg *pg, enum err (*body)(struct pg *pg, void *argument), void *argument);

/* The same, read-only, and all its statements see the database as it was at the first. */
enum err pg_snapshot(struct pg *pg, enum err (*body)(struct pg *pg, void *argument), void *argument);

/* Read a column of a row. NULL reads as 0, false, or NULL. */
int64_t pg_get_int(const PGresult *result, int row, int column);
bool pg_get_bool(const PGresult *result, int row, int column);
const char *pg_get_text(const PGresult *result, int row, int column);
/* A column selected as microseconds (see PG_US). */
#define PG_US(expression) "(extract(epoch from " expression ") * 1000000)::bigint"
/* The same as the text that it is in JSON: RFC 3339, in UTC. */
#define PG_UTC(expression) "to_char(" expression " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

void pg_result_cleanup(PGresult **result);
#define PG_RESULT_AUTO __attribute__((cleanup(pg_result_cleanup))) PGresult *

#endif
