/* SPDX-License-Identifier: Apache-2.0 */
#include "work/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"

static const char KEY[] = "tallygate:events";

enum { BATCH = 80, GROUPS_MAX = 60, NAME_SIZE = 200 };

static const struct pg_statement IS_DUE = {
    "stream_is_due",
    "SELECT (r.last_no > s.sent_no AND s.reached) OR s.looked_at < now() - interval '5 s' FROM event_relay r, event_stream s"};
static const struct pg_statement STATE = {"stream_state", "SELECT sent_no FROM event_stream"};
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
    "stream_note", "UPDATE event_stream SET sent_no = $1, looked_at = now(), reached = true"};
static const struct pg_statement NOTE_AWAY = {"stream_note_away",
                                              "UPDATE event_stream SET looked_at = now(), reached = false"};

/* The stream's last id and length, and each group with what it confirmed. */
static struct redis_script LOOK = {
    .text = "local function no(id) return string.match(id, '^(%d+)') end "
            "if redis.call('EXISTS', KEYS[1]) == 0 then return {'0', '-1'} end "
            "local s = redis.call('XINFO', 'STREAM', KEYS[1]) "
            "local answer = {'0', '0'} "
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
/* Groups by name, each to go on after a number. */
static struct redis_script MAKE_GROUPS = {
    .text = "for i = 1, #ARGV, 2 do "
            "  redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[i], ARGV[i + 1] .. '-1', 'MKSTREAM') end "
            "return {}"};
/* The number up to which to cut off, the one that the stream must end with, and then entries: number, type,
 * event. A Redis that came back empty meanwhile takes nothing: it would look as if it had all before. */
static struct redis_script ADD = {
    .text = "local last = '0' "
            "if redis.call('EXISTS', KEYS[1]) == 1 then "
            "  local s = redis.call('XINFO', 'STREAM', KEYS[1]) "
            "  for i = 1, #s, 2 do "
            "    if s[i] == 'last-generated-id' then last = string.match(s[i + 1], '^(%d+)') end end end "
            "if last ~= ARGV[2] then return {'other'} end "
            "for i = 3, #ARGV, 3 do "
            "  redis.call('XADD', KEYS[1], ARGV[i] .. '-1', 'type', ARGV[i + 1], 'event', ARGV[i + 2]) end "
            "if ARGV[1] ~= '0' then redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1] .. '-0') end "
            "return {'added'}"};

struct group {
    char name[NAME_SIZE];
    int64_t confirmed;
    bool found; /* in Redis */
};

struct seen {
    int64_t last;
    int64_t length; /* -1: there is no stream, and no group of one */
    struct group groups[GROUPS_MAX];
    size_t count;
    bool more; /* than we can keep in mind */
};

static void take(void *argument, size_t i, const char *text)
{
    struct seen *seen = argument;
    size_t place = (i - 2) / 2;
    text = text ? text : "";
    if (i < 2) {
        *(i ? &seen->length : &seen->last) = strtoll(text, NULL, 10);
    } else if (place >= GROUPS_MAX || strlen(text) >= NAME_SIZE) {
        seen->more = true;
    } else if (i % 2 == 0) {
        snprintf(seen->groups[place].name, NAME_SIZE, "%s", text);
        seen->count = place + 1;
    } else {
        seen->groups[place].confirmed = strtoll(text, NULL, 10);
    }
}

static void take_added(void *argument, size_t i, const char *text)
{
    (void)i;
    *(bool *)argument = text && strcmp(text, "added") == 0;
}

static struct group *find(struct seen *seen, const char *name)
{
    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->groups[i].name, name) == 0) {
            return &seen->groups[i];
        }
    }
    return NULL;
}

/* Redis lost what it had: its groups go on where they were. */
static enum err make_groups(struct redis *redis, const PGresult *known, struct arena *arena)
{
    const char *texts[2 * GROUPS_MAX];
    size_t count = 0;
    for (int row = 0; row < PQntuples(known) && count < 2 * GROUPS_MAX; row++) {
        texts[count++] = arena_strdup(arena, pg_get_text(known, row, 0));
        texts[count++] = arena_printf(arena, "%lld", (long long)pg_get_int(known, row, 1));
    }
    struct seen none = {.count = 0};
    return count ? redis_run_texts(redis, &MAKE_GROUPS, KEY, texts, count, take, &none) : ERR_OK;
}

/* Those that are there, and what they confirmed; others were destroyed. */
static enum err note_groups(struct pg *pg, const struct seen *seen, const PGresult *known)
{
    enum err e = ERR_OK;
    for (int row = 0; !e && row < PQntuples(known); row++) {
        struct pg_params params = {0};
        pg_text(&params, pg_get_text(known, row, 0));
        if (!find((struct seen *)seen, pg_get_text(known, row, 0))) {
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

static enum err send(struct pg *pg, struct redis *redis, const struct seen *seen, struct arena *arena,
                     int64_t *ret_sent, bool *ret_more)
{
    const char *texts[2 + 3 * BATCH];
    struct pg_params params = {0};
    PG_RESULT_AUTO rows = NULL;
    size_t count = 2;
    bool added = false;
    int64_t cut = confirmed_by_all(seen) - STREAM_KEPT;
    bool full = seen->length >= STREAM_MAX;
    pg_int(&params, *ret_sent);
    pg_int(&params, full ? 0 : BATCH);
    enum err e = pg_query(pg, &NEXT, &params, &rows);
    if (e) {
        return e;
    }
    texts[0] = arena_printf(arena, "%lld", (long long)(cut > 0 ? cut : 0));
    texts[1] = arena_printf(arena, "%lld", (long long)seen->last);
    for (int row = 0; row < PQntuples(rows); row++) {
        for (int column = 0; column < 3; column++) {
            texts[count++] = pg_get_text(rows, row, column);
        }
    }
    e = redis_run_texts(redis, &ADD, KEY, texts, count, take_added, &added);
    if (!added) {
        *ret_sent = -1; /* nothing is known of it */
    } else if (PQntuples(rows)) {
        *ret_sent = pg_get_int(rows, PQntuples(rows) - 1, 0);
    }
    *ret_more = !e && (!added || PQntuples(rows) == BATCH);
    if (full) {
        log_warn("the stream %s is full: a group does not read", KEY);
    }
    return e;
}

/* Nothing is held meanwhile: two that do this at once disturb each other, as Redis takes each number once. */
static enum err run(struct pg *pg, struct redis *redis, struct seen *seen, struct arena *arena,
                    bool *ret_more)
{
    PG_RESULT_AUTO state = NULL;
    PG_RESULT_AUTO known = NULL;
    struct pg_params params = {0};
    enum err e = pg_query(pg, &STATE, NULL, &state);
    e = e ? e : pg_query(pg, &GROUPS, NULL, &known);
    if (!e && redis_run_texts(redis, &LOOK, KEY, NULL, 0, take, seen) != ERR_OK) {
        return pg_query(pg, &NOTE_AWAY, NULL, NULL);
    }
    if (e) {
        return e;
    }
    int64_t sent = seen->last;
    if (seen->last < pg_get_int(state, 0, 0) || (seen->length < 0 && PQntuples(known))) {
        /* What is lost is sent again from the first that somebody lacks. */
        int64_t from = pg_get_int(state, 0, 0) - (PQntuples(known) ? 0 : STREAM_KEPT);
        for (int row = 0; row < PQntuples(known); row++) {
            int64_t confirmed = pg_get_int(known, row, 1);
            from = confirmed < from ? confirmed : from;
        }
        sent = from > seen->last ? from : seen->last; /* it takes numbers only as they grow */
        log_warn("Redis lacks events from %lld on that it had: sending them again", (long long)sent + 1);
        e = make_groups(redis, known, arena);
    } else {
        e = note_groups(pg, seen, known);
    }
    e = e ? e : send(pg, redis, seen, arena, &sent, ret_more);
    pg_int(&params, sent);
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

enum err stream_run(struct pg *pg, struct redis *redis, bool *ret_more)
{
    struct arena arena = {0};
    struct seen *seen = arena_zalloc(&arena, 1, sizeof(*seen));
    enum err e = run(pg, redis, seen, &arena, ret_more);
    arena_free(&arena);
    return e;
}
