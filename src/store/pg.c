/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting is libpq's blocking call with connect_timeout, which holds for each host by itself, so
 * that one which hangs does not keep us from the next. Its other blocking calls wait without limit
 * when a server hangs (SIGSTOP, a lost route), so all further waiting is poll(2) with a deadline
 * around the asynchronous ones. The server is told the same limit by statement_timeout; ours is
 * longer by GRACE_MS, so that it usually gives up first, with a clean answer.
 *
 * A connection that the server closed while it lay idle is noticed before the next statement is
 * sent, so a restart of PostgreSQL costs no request that starts after it. A statement is never
 * sent twice by this layer: whether that is safe only the caller knows.
 *
 * A statement whose rows nobody wants any more is ended by closing its connection, not by PQcancel(), which
 * would wait without limit for a server that hangs: the server's next write fails, and it gives up.
 *
 * Log lines: the first failure of a process is logged, then silence until it heals, and no further
 * one within LOG_EVERY_S: a thousand requests that fail alike make two lines, and a server that
 * takes connections but no statements makes two in that time.
 */
#include "store/pg.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "store/pg_peer.h"

enum {
    GRACE_MS = 1000,
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 1000,
    LOG_EVERY_S = 10,
    PREPARED_SLOTS = 512, /* a power of two, well above the number of statements */
    COPY_TEXT_MAX = 1024 * 1024,
    COPY_ASK_MS = 1000,
};

struct pg {
    const struct pg_options *options;
    PGconn *connection;
    uint64_t generation;
    int64_t retry_at_us; /* no attempt to connect before this, monotonic as the next */
    int64_t failed_at_us;
    int64_t backoff_ms;
    bool works; /* a statement succeeded on this connection */
    bool outcome_unknown;
    bool in_transaction; /* then a lost connection must not be replaced under the caller */
    char sqlstate[6];
    const struct pg_statement *prepared[PREPARED_SLOTS];
};

/* Whether this process said that PostgreSQL is away, and when it may say so again. */
static atomic_bool away_logged;
static _Atomic int64_t log_again_us;
/* When a handle of this process that had failed was served again. Whoever failed before that need not wait
 * any longer: else the first to heal would go on beside others that answer 503 for a second more. */
static _Atomic int64_t healed_us;

bool pg_url_valid(const char *url, const char **ret_reason)
{
    PQconninfoOption *options = NULL;
    bool is_uri = strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
    /* libpq takes a text without an equals sign for the name of a database, password and all. */
    bool valid = is_uri || (!strstr(url, "://") && strchr(url, '='));
    if (valid) {
        options = PQconninfoParse(url, NULL); /* its own words would repeat the url */
        valid = options != NULL;
        for (const PQconninfoOption *o = options; valid && o->keyword; o++) {
            /* A password with a slash in it reads as a port, which libpq would only tell later. */
            valid = strcmp(o->keyword, "port") != 0 || !o->val || !o->val[strspn(o->val, "0123456789,")];
        }
        PQconninfoFree(options);
    }
    if (!valid) {
        *ret_reason = "is not a connection string or URI as libpq takes it";
    }
    return valid;
}

void pg_text(struct pg_params *params, const char *text_or_null)
{
    params->values[params->count++] = text_or_null;
}

void pg_int(struct pg_params *params, int64_t value)
{
    char *text = params->numbers[params->count];
    snprintf(text, sizeof(params->numbers[0]), "%lld", (long long)value);
    params->values[params->count++] = text;
}

void pg_bytes(struct pg_params *params, const void *data, size_t length)
{
    params->lengths[params->count] = (int)length;
    params->formats[params->count] = 1;
    params->values[params->count++] = data;
}

struct pg *pg_new(const struct pg_options *options)
{
    struct pg *pg = mem_zalloc(1, sizeof(*pg));
    pg->options = options;
    return pg;
}

void pg_free(struct pg *pg)
{
    if (pg) {
        pg_disconnect(pg);
        free(pg);
    }
}

void pg_disconnect(struct pg *pg)
{
    PQfinish(pg->connection);
    pg->connection = NULL;
    pg->works = false;
    memset(pg->prepared, 0, sizeof(pg->prepared));
}

uint64_t pg_generation(const struct pg *pg)
{
    return pg->generation;
}

bool pg_outcome_unknown(const struct pg *pg)
{
    return pg->outcome_unknown;
}

const char *pg_sqlstate(const struct pg *pg)
{
    return pg->sqlstate;
}

/* Wait until the socket is ready for `events`, or the deadline passed. */
static bool wait_socket(PGconn *connection, short events, int64_t deadline_us)
{
    for (;;) {
        int64_t left_us = deadline_us - clock_monotonic_us();
        if (left_us <= 0) {
            return false;
        }
        struct pollfd fd = {.fd = PQsocket(connection), .events = events};
        int n = poll(&fd, 1, (int)(left_us / 1000 + 1));
        if (n > 0) {
            return true;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
    }
}

static void log_away(const char *what, const char *why)
{
    int64_t now_us = clock_monotonic_us();
    int64_t again_us = atomic_load(&log_again_us);
    if (!atomic_load(&away_logged) && now_us >= again_us &&
        atomic_compare_exchange_strong(&log_again_us, &again_us, now_us + LOG_EVERY_S * USEC_PER_SEC)) {
        atomic_store(&away_logged, true);
        log_error("PostgreSQL is away: %s: %s", what, why && *why ? why : "no answer in time");
    }
}

/* A connection that worked and is lost may be replaced at once: a backend that ended is no server that is
 * away. Whatever fails next, before a statement succeeds, waits. */
static enum err note_away(struct pg *pg, const char *what, const char *why)
{
    bool worked = pg->works;
    log_away(what, why);
    pg_disconnect(pg);
    pg->failed_at_us = clock_monotonic_us();
    if (worked) {
        pg->retry_at_us = 0;
        return ERR_UNAVAILABLE;
    }
    int64_t backoff_ms = pg->backoff_ms ? pg->backoff_ms * 2 : BACKOFF_MIN_MS;
    pg->backoff_ms = backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms;
    uint32_t random;
    crypto_random(&random, sizeof(random));
    int64_t jitter_us = (int64_t)(random % (uint32_t)(pg->backoff_ms * 1000 / 2 + 1));
    pg->retry_at_us = pg->failed_at_us + pg->backoff_ms * 500 + jitter_us;
    return ERR_UNAVAILABLE;
}

static void note_back(struct pg *pg)
{
    if (pg->backoff_ms) {
        pg->backoff_ms = 0;
        atomic_store(&healed_us, clock_monotonic_us());
    }
    pg->works = true;
    if (atomic_exchange(&away_logged, false)) {
        log_info("PostgreSQL is back");
    }
}

static void ignore_notice(void *argument, const PGresult *result)
{
    (void)argument;
    (void)result;
}

static PGresult *receive(struct pg *pg, int64_t deadline_us);

/* Session settings: ours for every connection, whatever the database's defaults are. An answer
 * that says "recorded" means durable, so asynchronous commit is switched off where a default has
 * it on; a stronger setting stays. Our statements are short: compiling one takes longer than it runs. */
static bool set_up_session(struct pg *pg, int64_t deadline_us)
{
    char sql[512];
    snprintf(
        sql, sizeof(sql),
        "SET statement_timeout = %lld; SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = "
        "60000; SET timezone = 'UTC'; SET jit = off; SET search_path = public; SET client_encoding = 'UTF8'; "
        "SET plan_cache_mode = %s; "
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = "
        "'off'",
        (long long)pg->options->statement_timeout_ms, (long long)pg->options->statement_timeout_ms,
        pg->options->plan_anew ? "force_custom_plan" : "auto");
    if (PQsendQuery(pg->connection, sql) != 1) {
        return false;
    }
    PG_RESULT_AUTO result = receive(pg, deadline_us);
    return result && PQresultStatus(result) == PGRES_TUPLES_OK;
}

static enum err connect_now(struct pg *pg)
{
    char limit_s[24];
    snprintf(limit_s, sizeof(limit_s), "%lld", (long long)pg->options->connect_timeout_s);
    const char *const keywords[] = {"dbname", "connect_timeout", "fallback_application_name", NULL};
    const char *const values[] = {pg->options->url, limit_s, pg->options->application_name, NULL};

    bool peer = pg->options->as_role && pg_peer_enter(pg->options->url);
    pg->connection = PQconnectdbParams(keywords, values, 1);
    if (peer) {
        pg_peer_leave();
    }
    if (PQstatus(pg->connection) != CONNECTION_OK) {
        return note_away(pg, "connect", PQerrorMessage(pg->connection));
    }
    PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
    int64_t deadline_us = clock_monotonic_us() + pg->options->connect_timeout_s * USEC_PER_SEC;
    if (PQsetnonblocking(pg->connection, 1) != 0 || !set_up_session(pg, deadline_us)) {
        return note_away(pg, "set up session", PQerrorMessage(pg->connection));
    }
    pg->generation++;
    if (metrics_own()) {
        atomic_fetch_add_explicit(&metrics_own()->database_connects, 1, memory_order_relaxed);
    }
    return ERR_OK;
}

/* An idle connection that has something to read was closed by the server, or was told a notice. */
static bool still_connected(struct pg *pg)
{
    if (!pg->connection) {
        return false;
    }
    struct pollfd fd = {.fd = PQsocket(pg->connection), .events = POLLIN | POLLRDHUP};
    if (poll(&fd, 1, 0) > 0 && PQconsumeInput(pg->connection) != 1) {
        pg_disconnect(pg);
        return false;
    }
    if (PQstatus(pg->connection) != CONNECTION_OK || (fd.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        pg_disconnect(pg);
        return false;
    }
    return true;
}

enum err pg_ready(struct pg *pg)
{
    if (still_connected(pg)) {
        return ERR_OK;
    }
    bool must_wait = clock_monotonic_us() < pg->retry_at_us && atomic_load(&healed_us) <= pg->failed_at_us;
    if (pg->in_transaction || must_wait) {
        return ERR_UNAVAILABLE;
    }
    return connect_now(pg);
}

static bool flush(struct pg *pg, int64_t deadline_us)
{
    for (;;) {
        int left = PQflush(pg->connection);
        if (left <= 0) {
            return left == 0;
        }
        /* Take in what the server sends meanwhile, or both sides could wait for ever. */
        if (!wait_socket(pg->connection, POLLIN | POLLOUT, deadline_us) ||
            PQconsumeInput(pg->connection) != 1) {
            return false;
        }
    }
}

/* The next result of what was sent, NULL after the last. False when the server did not answer in time or
 * the connection is lost. */
static bool next_result(struct pg *pg, int64_t deadline_us, PGresult **ret_result)
{
    while (PQisBusy(pg->connection)) {
        if (!wait_socket(pg->connection, POLLIN, deadline_us) || PQconsumeInput(pg->connection) != 1) {
            return false;
        }
    }
    *ret_result = PQgetResult(pg->connection);
    return true;
}

/* The last result of what was sent, or the first that is an error; NULL when the server did not
 * answer in time or the connection is lost. */
static PGresult *receive(struct pg *pg, int64_t deadline_us)
{
    PGresult *last = NULL;
    PGresult *next = NULL;
    if (!flush(pg, deadline_us)) {
        return NULL;
    }
    while (next_result(pg, deadline_us, &next)) {
        if (!next) {
            return last;
        }
        if (last && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(last);
        last = next;
    }
    PQclear(last);
    return NULL;
}

static enum err classify(struct pg *pg, const PGresult *result, const char *name)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(pg->sqlstate, sizeof(pg->sqlstate), "%s", state ? state : "");
    if (!state || strncmp(state, "08", 2) == 0 || strncmp(state, "57P", 3) == 0) {
        /* Connection trouble, or the server is being shut down under us. */
        pg->outcome_unknown = true;
        return note_away(pg, name, PQresultErrorMessage(result));
    }
    if (strcmp(state, "23505") == 0) {
        return ERR_CONFLICT;
    }
    if (strcmp(state, "23514") == 0 && !PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME)) {
        /* No CHECK of a table: the row waited for a partition whose range another took over meanwhile. The
         * next attempt finds its way. */
        return ERR_UNAVAILABLE;
    }
    if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0) {
        return ERR_INVALID;
    }
    if (strncmp(state, "40", 2) == 0 || strcmp(state, "57014") == 0 || strcmp(state, "55P03") == 0) {
        log_warn("%s: PostgreSQL gave it up: %s", name, PQresultErrorMessage(result));
        return ERR_UNAVAILABLE; /* deadlock, serialisation, statement or lock time-out */
    }
    if (strcmp(state, "0A000") == 0 || strcmp(state, "26000") == 0) {
        /* A prepared statement that no longer fits: a migration changed its tables, or a pooler gave us
         * another session. A new connection prepares anew. */
        log_info("%s: preparing anew: %s", name, PQresultErrorMessage(result));
        pg_disconnect(pg);
        return ERR_UNAVAILABLE;
    }
    if (strncmp(state, "53", 2) == 0) {
        log_away(name,
                 PQresultErrorMessage(result)); /* out of disk or memory: another connection is no help */
        return ERR_UNAVAILABLE;
    }
    if (strcmp(state, "25006") == 0) {
        return note_away(pg, name, PQresultErrorMessage(result)); /* became read-only by fail-over */
    }
    log_error("%s: PostgreSQL refuses: %s", name, PQresultErrorMessage(result));
    return ERR_INTERNAL;
}

static enum err judge(struct pg *pg, const PGresult *result, const char *name)
{
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_EMPTY_QUERY) {
        return classify(pg, result, name);
    }
    note_back(pg); /* not before: a server may take connections and refuse every statement */
    return ERR_OK;
}

static enum err note_lost(struct pg *pg, const char *name)
{
    pg->outcome_unknown = true;
    return note_away(pg, name, PQerrorMessage(pg->connection));
}

static enum err finish(struct pg *pg, int64_t deadline_us, const char *name, PGresult **ret_result)
{
    PG_RESULT_AUTO result = receive(pg, deadline_us);
    if (!result) {
        return note_lost(pg, name);
    }
    enum err e = judge(pg, result, name);
    if (!e && ret_result) {
        *ret_result = result;
        result = NULL;
    }
    return e;
}

/* What `result`, the first that is no row or data, says of a statement that was read piece by piece. */
static enum err finish_pieces(struct pg *pg, int64_t deadline_us, const char *name, const PGresult *result)
{
    PGresult *next = NULL;
    while (next_result(pg, deadline_us, &next)) {
        if (!next) {
            return judge(pg, result, name);
        }
        PQclear(next);
    }
    return note_lost(pg, name);
}

static int64_t statement_deadline(const struct pg *pg)
{
    return clock_monotonic_us() + (pg->options->statement_timeout_ms + GRACE_MS) * 1000;
}

/* Where `statement` is kept among the prepared ones, or the free slot where it would be. */
static const struct pg_statement **prepared_slot(struct pg *pg, const struct pg_statement *statement)
{
    size_t hash = (size_t)((uintptr_t)statement / sizeof(*statement));
    for (size_t i = 0; i < PREPARED_SLOTS; i++) {
        const struct pg_statement **slot = &pg->prepared[(hash + i) % PREPARED_SLOTS];
        if (!*slot || *slot == statement) {
            return slot;
        }
    }
    abort(); /* more statements than slots: raise PREPARED_SLOTS */
}

static enum err begin(struct pg *pg)
{
    pg->outcome_unknown = false;
    pg->sqlstate[0] = '\0';
    return pg_ready(pg);
}

/* Send one statement, prepared on this connection at its first use. */
static enum err send_statement(struct pg *pg, const struct pg_statement *statement,
                               const struct pg_params *params)
{
    static const struct pg_params NONE;
    const struct pg_params *p = params ? params : &NONE;

    enum err e = begin(pg);
    if (e) {
        return e;
    }
    const struct pg_statement **slot = prepared_slot(pg, statement);
    if (!*slot) {
        if (PQsendPrepare(pg->connection, statement->name, statement->sql, 0, NULL) != 1) {
            return note_away(pg, statement->name, PQerrorMessage(pg->connection));
        }
        e = finish(pg, statement_deadline(pg), statement->name, NULL);
        if (e) {
            pg->outcome_unknown = false; /* only prepared, nothing run */
            return e;
        }
        *slot = statement;
    }
    if (PQsendQueryPrepared(pg->connection, statement->name, p->count, p->values, p->lengths, p->formats,
                            0) != 1) {
        return note_away(pg, statement->name, PQerrorMessage(pg->connection));
    }
    return ERR_OK;
}

/* How long a statement took, for the metrics and the trace. */
static void note_statement(const char *name, int64_t began_us, int64_t traced_us, enum err e)
{
    struct metrics *metrics = metrics_own();
    if (metrics) {
        metrics_add(&metrics->database_us, METRICS_TIMES_US, clock_monotonic_us() - began_us);
        if (e == ERR_UNAVAILABLE) {
            atomic_fetch_add_explicit(&metrics->database_failures, 1, memory_order_relaxed);
        }
    }
    trace_end(TRACE_CLIENT, name, traced_us, e == ERR_UNAVAILABLE || e == ERR_INTERNAL);
}

enum err pg_query(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
                  PGresult **ret_result)
{
    int64_t began_us = clock_monotonic_us(), traced_us = trace_begin();
    enum err e = send_statement(pg, statement, params);
    e = e ? e : finish(pg, statement_deadline(pg), statement->name, ret_result);
    note_statement(statement->name, began_us, traced_us, e);
    return e;
}

enum err pg_each(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
                 pg_row_taker *take, void *argument)
{
    enum err e = send_statement(pg, statement, params);
    if (e) {
        return e;
    }
    int64_t deadline_us = statement_deadline(pg);
    if (PQsetSingleRowMode(pg->connection) != 1 || !flush(pg, deadline_us)) {
        return note_lost(pg, statement->name);
    }
    for (;;) {
        PG_RESULT_AUTO row = NULL;
        if (!next_result(pg, deadline_us, &row) || !row) {
            return note_lost(pg, statement->name);
        }
        if (PQresultStatus(row) != PGRES_SINGLE_TUPLE) {
            return finish_pieces(pg, deadline_us, statement->name, row);
        }
        if (!take(argument, row)) {
            pg_disconnect(pg);
            return ERR_OK;
        }
    }
}

/*
 * COPY takes no parameters, so here, and nowhere else, values become part of a statement's text. Each
 * value, numbers and times included, goes through libpq's own escaping and stands as a quoted literal,
 * which PostgreSQL reads as what its place calls for. `sql` is a text of ours, in which $N is the N-th
 * value and neither `--` nor `$` stands inside quotes. Its comments are left out: a line break in a
 * value would end one.
 */
static bool put_literals(struct pg *pg, struct buf *text, const char *sql, const struct pg_params *params)
{
    while (*sql) {
        if (strncmp(sql, "--", 2) == 0) {
            sql += strcspn(sql, "\n");
        } else if (*sql != '$') {
            size_t length = 1 + strcspn(sql + 1, "-$");
            buf_append(text, sql, length);
            sql += length;
        } else {
            char *end;
            long number = strtol(sql + 1, &end, 10);
            if (number < 1 || number > params->count) {
                abort();
            }
            const char *value = params->values[number - 1];
            char *literal = value ? PQescapeLiteral(pg->connection, value, strlen(value)) : NULL;
            if (value && !literal) {
                return false;
            }
            buf_puts(text, literal ? literal : "NULL");
            PQfreemem(literal);
            sql = end;
        }
    }
    return true;
}

/* The setting goes with the implicit transaction that the statements of one text are. */
static enum err send_copy(struct pg *pg, const struct pg_copy *copy, const struct pg_params *params)
{
    struct buf text;
    buf_init(&text, COPY_TEXT_MAX);
    buf_printf(&text, "SET LOCAL statement_timeout = %lld; COPY (", (long long)copy->limit_ms);
    bool bound = put_literals(pg, &text, copy->select, params);
    buf_printf(&text, ") TO STDOUT (%s)", copy->options);
    bool sent = bound && !text.overflow && PQsendQuery(pg->connection, buf_text(&text)) == 1;
    buf_free(&text);
    if (!bound || text.overflow) {
        log_error("%s: a value cannot be escaped: %s", copy->name, PQerrorMessage(pg->connection));
        return ERR_INTERNAL;
    }
    return sent && flush(pg, statement_deadline(pg)) ? ERR_OK : note_lost(pg, copy->name);
}

/* Wait until the server has data for us; it may first say that the setting is made. */
static enum err await_copy(struct pg *pg, const struct pg_copy *copy)
{
    int64_t deadline_us = statement_deadline(pg);
    for (;;) {
        PG_RESULT_AUTO result = NULL;
        if (!next_result(pg, deadline_us, &result) || !result) {
            return note_lost(pg, copy->name);
        }
        if (PQresultStatus(result) == PGRES_COPY_OUT) {
            return ERR_OK;
        }
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            return finish_pieces(pg, deadline_us, copy->name, result);
        }
    }
}

/* Wait for the next row. `take` is asked now and then whether anyone still wants it: *ret_wanted. */
static bool wait_row(struct pg *pg, pg_copy_taker *take, void *argument, bool *ret_wanted)
{
    int64_t deadline_us = statement_deadline(pg);
    for (;;) {
        int64_t now_us = clock_monotonic_us();
        int64_t ask_us = now_us + COPY_ASK_MS * 1000;
        if (now_us >= deadline_us) {
            return false;
        }
        if (wait_socket(pg->connection, POLLIN, ask_us < deadline_us ? ask_us : deadline_us)) {
            return PQconsumeInput(pg->connection) == 1;
        }
        if (!take(argument, NULL, 0)) {
            *ret_wanted = false;
            return true;
        }
    }
}

enum err pg_copy_out(struct pg *pg, const struct pg_copy *copy, const struct pg_params *params,
                     pg_copy_taker *take, void *argument)
{
    enum { ENDED = -1, LATER = 0 };
    bool wanted = true;
    enum err e = begin(pg);
    e = e ? e : send_copy(pg, copy, params);
    e = e ? e : await_copy(pg, copy);
    while (!e && wanted) {
        char *row = NULL;
        int length = PQgetCopyData(pg->connection, &row, 1);
        if (length > 0) {
            wanted = take(argument, row, (size_t)length);
            PQfreemem(row);
        } else if (length == ENDED) {
            return finish(pg, statement_deadline(pg), copy->name, NULL);
        } else if (length != LATER || !wait_row(pg, take, argument, &wanted)) {
            return note_lost(pg, copy->name);
        }
    }
    if (!wanted) {
        pg_disconnect(pg);
    }
    return e;
}

enum err pg_script(struct pg *pg, const char *sql)
{
    enum err e = begin(pg);
    if (e) {
        return e;
    }
    if (PQsendQuery(pg->connection, sql) != 1) {
        return note_away(pg, "script", PQerrorMessage(pg->connection));
    }
    return finish(pg, statement_deadline(pg), "script", NULL);
}

static enum err run_transaction(struct pg *pg, const char *begin_sql,
                                enum err (*body)(struct pg *pg, void *argument), void *argument)
{
    enum err e = pg_script(pg, begin_sql);
    if (e) {
        return e;
    }
    pg->in_transaction = true;
    e = body(pg, argument);
    pg->in_transaction = false;
    if (!pg->connection) {
        return e ? e : ERR_UNAVAILABLE; /* the connection went, and the transaction with it */
    }
    if (e) {
        char sqlstate[sizeof(pg->sqlstate)];
        memcpy(sqlstate, pg->sqlstate, sizeof(sqlstate));
        if (pg_script(pg, "ROLLBACK") != ERR_OK) {
            pg_disconnect(pg);
        }
        memcpy(pg->sqlstate, sqlstate, sizeof(sqlstate));
        return e;
    }
    pg->in_transaction = true;
    e = pg_script(pg, "COMMIT");
    pg->in_transaction = false;
    return e;
}

enum err pg_transaction(struct pg *pg, enum err (*body)(struct pg *pg, void *argument), void *argument)
{
    return pg->in_transaction ? body(pg, argument) : run_transaction(pg, "BEGIN", body, argument);
}

enum err pg_snapshot(struct pg *pg, enum err (*body)(struct pg *pg, void *argument), void *argument)
{
    return run_transaction(pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", body, argument);
}

int64_t pg_get_int(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? 0 : strtoll(PQgetvalue(result, row, column), NULL, 10);
}

bool pg_get_bool(const PGresult *result, int row, int column)
{
    return PQgetvalue(result, row, column)[0] == 't';
}

const char *pg_get_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

void pg_result_cleanup(PGresult **result)
{
    PQclear(*result);
}
