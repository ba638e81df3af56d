/* SPDX-License-Identifier: Apache-2.0 */
#include "work/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/utf8.h"

enum { BATCH = 40, GROUPS_MAX = 60, NAME_SIZE = 200, RUN_ID_SIZE = 64 };

static const struct pg_statement IS_DUE = {
    "stream_is_due",
    "SELECT (r.last_no > s.sent_no AND s.reached) OR s.looked_at < now() - interval '5 s' FROM event_relay r, event_stream s"};
static const struct pg_statement STATE = {
    "stream_state", "SELECT s.sent_no, s.run_id, r.last_no FROM event_stream s, event_relay r"};
/* The stream has numbers that are to come here: it is of a database that was lost, or of another one. What
 * was not sent yet gets numbers behind them. */
static const struct pg_statement LOCK_RELAY = {"stream_lock_relay",
                                               "SELECT pg_advisory_xact_lock(hashtext('relay events'))"};
static const struct pg_statement RENUMBER = {
    "stream_renumber",
    "WITH far AS MATERIALIZED (SELECT $1::bigint - s.sent_no AS shift, s.sent_no FROM event_stream s, event_relay r "
    "WHERE r.last_no < $1::bigint), "
    "moved AS (UPDATE domain_events e SET no = no + far.shift FROM far WHERE e.no > far.sent_no), "
    "counted AS (UPDATE event_relay SET last_no = last_no + far.shift FROM far) "
    "UPDATE event_stream SET sent_no = $1::bigint FROM far"};
static const struct pg_statement GROUPS = {
    "stream_groups", "SELECT name, confirmed_no FROM event_stream_groups ORDER BY name LIMIT 60"};
static const struct pg_statement NEXT = {
    "stream_next",
    "SELECT no, type, event_envelope(e) FROM domain_events e WHERE no > $1::bigint ORDER BY no LIMIT $2::bigint"};
static const struct pg_statement NOTE_GROUP = {
    "stream_note_group", "INSERT INTO event_stream_groups (name, confirmed_no) VALUES ($1, $2) "
                         "ON CONFLICT (name) DO UPDATE SET confirmed_no = excluded.confirmed_no"};
static const struct pg_statement FORGET_GROUP = {"stream_forget_group",
                                                 "DELETE FROM event_stream_groups WHERE name = $1"};
static const struct pg_statement NOTE = {
    "stream_note", "UPDATE event_stream SET sent_no = $1, run_id = $2, looked_at = now(), reached = true"};
static const struct pg_statement NOTE_AWAY = {"stream_note_away",
                                              "UPDATE event_stream SET looked_at = now(), reached = false"};

#define RUN_ID "string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')"
/* The stream's last id, length (-1: there is none) and bytes, which life of Redis this is, and each group
 * with what it confirmed. */
static struct redis_script LOOK = {
    .text = "local function no(id) return string.match(id, '^(%d+)') end "
            "if redis.call('EXISTS', KEYS[1]) == 0 then return {'0', '-1', '0', " RUN_ID "} end "
            "local s = redis.call('XINFO', 'STREAM', KEYS[1]) "
            "local answer = {'0', '0', tostring(redis.call('MEMORY', 'USAGE', KEYS[1])), " RUN_ID "} "
            "for i = 1, #s, 2 do "
            "  if s[i] == 'last-generated-id' then answer[1] = no(s[i + 1]) end "
            "  if s[i] == 'length' then answer[2] = tostring(s[i + 1]) end end "
            "for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do "
            "  local name, last, pending = '', '0-0', 0 "
            "  for i = 1, #g, 2 do "
            "    if g[i] == 'name' then name = g[i + 1] end "
            "    if g[i] == 'pending' then pending = g[i + 1] end "
            "    if g[i] == 'last-delivered-id' then last = g[i + 1] end end "
            "  local confirmed = no(last) "
            "  if pending > 0 then "
            "    local first = redis.call('XPENDING', KEYS[1], name)[2] "
            "    if first then confirmed = string.format('%.0f', tonumber(no(first)) - 1) end end "
            "  answer[#answer + 1] = name answer[#answer + 1] = confirmed end "
            "return answer"};
/* Cut off what is before a number: by itself, as it must go on also while nothing can be added. */
static struct redis_script TRIM = {.text =
                                       "redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1] .. '-0') return {}"};
/* The life of Redis and the last number that were seen (`none`: no stream was), how many groups follow, each
 * with the number to go on after; and then entries: number, type, event. A Redis that was started anew or
 * emptied since takes nothing, as it would look as if it had all before. */
static struct redis_script ADD = {
    .text = "local last, groups = 'none', tonumber(ARGV[3]) "
            "if redis.call('EXISTS', KEYS[1]) == 1 then "
            "  local s = redis.call('XINFO', 'STREAM', KEYS[1]) "
            "  for i = 1, #s, 2 do "
            "    if s[i] == 'last-generated-id' then last = string.match(s[i + 1], '^(%d+)') end end end "
            "if last ~= ARGV[2] or " RUN_ID " ~= ARGV[1] then return {'other'} end "
            "for i = 4, 3 + 2 * groups, 2 do "
            "  redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[i], ARGV[i + 1] .. '-1', 'MKSTREAM') end "
            "for i = 4 + 2 * groups, #ARGV, 3 do "
            "  redis.call('XADD', KEYS[1], ARGV[i] .. '-1', 'type', ARGV[i + 1], 'event', ARGV[i + 2]) end "
            "return {'added'}"};

struct group {
    char name[NAME_SIZE];
    int64_t confirmed;
};

struct seen {
    int64_t last;
    int64_t length; /* -1: there is no stream, and no group of one */
    int64_t bytes;
    char run_id[RUN_ID_SIZE];
    struct group groups[GROUPS_MAX];
    size_t count;
    bool skips; /* the group that is being told */
    bool more;  /* than we can keep in mind */
};

static void take(void *argument, size_t i, const char *text)
{
    struct seen *seen = argument;
    text = text ? text : "";
    if (i < 3) {
        *(i == 0 ? &seen->last : i == 1 ? &seen->length : &seen->bytes) = strtoll(text, NULL, 10);
    } else if (i == 3) {
        snprintf(seen->run_id, sizeof(seen->run_id), "%s", text);
    } else if (i % 2 == 0) {
        size_t length = strlen(text);
        seen->skips =
            seen->count >= GROUPS_MAX || length == 0 || length >= NAME_SIZE || !utf8_valid(text, length);
        seen->more = seen->more || seen->skips;
        if (!seen->skips) {
            snprintf(seen->groups[seen->count].name, NAME_SIZE, "%s", text);
        }
    } else if (!seen->skips) {
        seen->groups[seen->count++].confirmed = strtoll(text, NULL, 10);
    }
}

static void take_nothing(void *argument, size_t i, const char *text)
{
    (void)argument;
    (void)i;
    (void)text;
}

static void take_added(void *argument, size_t i, const char *text)
{
    (void)i;
    *(bool *)argument = text && strcmp(text, "added") == 0;
}

static const struct group *find(const struct seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->groups[i].name, name) == 0) {
            return &seen->groups[i];
        }
    }
    return NULL;
}

/* Those that are there, and what they confirmed; others were destroyed, when all are known. */
static enum err note_groups(struct pg *pg, const struct seen *seen, const PGresult *known)
{
    enum err e = ERR_OK;
    for (int row = 0; !e && row < PQntuples(known); row++) {
        struct pg_params params = {0};
        pg_text(&params, pg_get_text(known, row, 0));
        if (!seen->more && !find(seen, pg_get_text(known, row, 0))) {
            e = pg_query(pg, &FORGET_GROUP, &params, NULL);
        }
    }
    for (size_t i = 0; !e && i < seen->count; i++) {
        struct pg_params params = {0};
        pg_text(&params, seen->groups[i].name);
        pg_int(&params, seen->groups[i].confirmed);
        e = pg_query(pg, &NOTE_GROUP, &params, NULL);
    }
    return e;
}

/* What all groups have confirmed; without any, nothing is waited for. */
static int64_t confirmed_by_all(const struct seen *seen)
{
    int64_t least = seen->more ? 0 : seen->last;
    for (size_t i = 0; i < seen->count; i++) {
        least = seen->groups[i].confirmed < least ? seen->groups[i].confirmed : least;
    }
    return least;
}

/* A Redis that refuses is as one that is away. */
static enum err send(struct pg *pg, struct redis *redis, const char *key, const struct seen *seen,
                     const PGresult *groups, struct arena *arena, int64_t *ret_sent, bool *ret_more)
{
    const char *texts[REDIS_ARGUMENTS_MAX];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    size_t count = 3;
    bool added = false;
    bool full = seen->length >= STREAM_MAX || seen->bytes >= STREAM_BYTES_MAX;
    pg_int(&params, *ret_sent);
    pg_int(&params, full ? 0 : BATCH);
    enum err e = pg_query(pg, &NEXT, &params, &rows);
    if (e) {
        return e;
    }
    if (full) {
        log_warn("the stream %s is full: a group does not read", key);
    }
    texts[0] = seen->run_id;
    texts[1] = seen->length < 0 ? "none" : arena_printf(arena, "%lld", (long long)seen->last);
    texts[2] = arena_printf(arena, "%d", groups ? PQntuples(groups) : 0);
    for (int row = 0; groups && row < PQntuples(groups); row++) {
        texts[count++] = pg_get_text(groups, row, 0);
        texts[count++] = pg_get_text(groups, row, 1);
    }
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int column = 0; column < 3; column++) {
            texts[count++] = pg_get_text(rows, row, column);
        }
    }
    if (redis_run_texts(redis, &ADD, key, texts, count, take_added, &added) != ERR_OK) {
        *ret_sent = -1;
        *ret_more = false;
        return pg_query(pg, &NOTE_AWAY, NULL, NULL);
    }
    if (!added) {
        *ret_sent = -1; /* nothing is known of it */
    } else if (PQntuples(rows)) {
        *ret_sent = pg_get_int(rows, PQntuples(rows) - 1, 0);
    }
    *ret_more = !added || PQntuples(rows) == BATCH;
    return ERR_OK;
}

/* Whether a group is missing that was there in an earlier life of Redis, which no one can have destroyed
 * since. */
static bool lacks_groups(const struct seen *seen, const PGresult *known, const char *run_id)
{
    bool lacks = false;
    for (int row = 0; row < PQntuples(known); row++) {
        lacks = lacks || !find(seen, pg_get_text(known, row, 0));
    }
    return lacks && !seen->more && (seen->length < 0 || strcmp(seen->run_id, run_id) != 0);
}

static enum err renumber(struct pg *pg, void *argument)
{
    struct pg_params params = {0};
    pg_int(&params, *(int64_t *)argument);
    enum err e = pg_query(pg, &LOCK_RELAY, NULL, NULL);
    return e ? e : pg_query(pg, &RENUMBER, &params, NULL);
}

/* Nothing is held meanwhile: two that do this at once disturb each other, as Redis takes each number once. */
static enum err run(struct pg *pg, struct redis *redis, const char *key, struct seen *seen,
                    struct arena *arena, bool *ret_more)
{
    PG_RESULT_AUTO state = NULL;
    PG_RESULT_AUTO known = NULL;
    struct pg_params params = {0};
    enum err e = pg_query(pg, &STATE, NULL, &state);
    e = e ? e : pg_query(pg, &GROUPS, NULL, &known);
    if (!e && redis_run_texts(redis, &LOOK, key, NULL, 0, take, seen) != ERR_OK) {
        return pg_query(pg, &NOTE_AWAY, NULL, NULL);
    }
    if (e) {
        return e;
    }
    int64_t noted = pg_get_int(state, 0, 0), sent = seen->last;
    if (seen->last > pg_get_int(state, 0, 2)) {
        log_warn("the stream %s has numbers up to %lld already: going on behind them", key,
                 (long long)seen->last);
        *ret_more = true;
        return pg_transaction(pg, renumber, &seen->last);
    }
    bool lost = seen->last < noted || lacks_groups(seen, known, pg_get_text(state, 0, 1));
    if (lost) {
        /* What is lost is sent again from the first that somebody lacks. */
        int64_t from = noted - (PQntuples(known) ? 0 : STREAM_KEPT);
        for (int row = 0; row < PQntuples(known); row++) {
            int64_t confirmed = pg_get_int(known, row, 1);
            from = confirmed < from ? confirmed : from;
        }
        sent = from > seen->last ? from : seen->last; /* it takes numbers only as they grow */
        log_warn("Redis lacks events from %lld on that it had: sending them again", (long long)sent + 1);
    } else {
        int64_t cut = confirmed_by_all(seen) - STREAM_KEPT;
        const char *number = arena_printf(arena, "%lld", (long long)cut);
        e = note_groups(pg, seen, known);
        if (!e && cut > 0) {
            (void)redis_run_texts(redis, &TRIM, key, &number, 1, take_nothing, NULL);
        }
    }
    e = e ? e : send(pg, redis, key, seen, lost ? known : NULL, arena, &sent, ret_more);
    pg_int(&params, sent);
    pg_text(&params, seen->run_id);
    return e || sent < 0 ? e : pg_query(pg, &NOTE, &params, NULL);
}

enum err stream_is_due(struct pg *pg, bool *ret_due)
{
    PG_RESULT_AUTO row = NULL;
    enum err e = pg_query(pg, &IS_DUE, NULL, &row);
    if (!e) {
        *ret_due = PQntuples(row) && pg_get_bool(row, 0, 0);
    }
    return e;
}

enum err stream_run(struct pg *pg, struct redis *redis, const char *key, bool *ret_more)
{
    struct arena arena = {0};
    struct seen *seen = arena_zalloc(&arena, 1, sizeof(*seen));
    enum err e = run(pg, redis, key, seen, &arena, ret_more);
    arena_free(&arena);
    return e;
}
