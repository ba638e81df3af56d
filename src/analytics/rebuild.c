/* SPDX-License-Identifier: Apache-2.0 */
#include "analytics/rebuild.h"

#include "queries.h"

/* A piece is some days of one workspace, with about so many events: its lock is held for a second or so. What
 * the rollups say of that may be wrong, so the days are bounded as well, and one of which they know nothing
 * is a piece of its own. */
enum { PIECE_EVENTS = 300000, PIECE_DAYS = 7 };

static const struct pg_statement WORKSPACES = {
    "rebuild_workspaces",
    "SELECT id FROM workspaces WHERE closed_at IS NULL AND ($1::bigint = 0 OR id = $1) ORDER BY id"};
static const struct pg_statement DAYS = {"rebuild_days", sql_rebuild_days};
static const struct pg_statement ROLLUPS = {
    "rebuild_rollups", "SELECT rebuild_rollups($1, $2::date, $3::date + 1, $4::boolean)"};
static const struct pg_statement ACTIVE_DAYS = {"rebuild_active_days",
                                                "SELECT rebuild_active_days($1, $2::boolean)"};

/* Look, and only where something is wrong look again with the lock, and mend it. `params` is without the last
 * one. */
static enum err compare(struct pg *pg, const struct pg_statement *statement, const struct pg_params *params,
                        bool mend, struct rebuild_found *found)
{
    PG_RESULT_AUTO row = NULL;
    struct pg_params look = *params;
    pg_text(&look, "f");
    enum err e = pg_query(pg, statement, &look, &row);
    int64_t wrong = e ? 0 : pg_get_int(row, 0, 0);
    if (wrong && mend) {
        PG_RESULT_AUTO mended = NULL;
        struct pg_params again = *params;
        pg_text(&again, "t");
        e = pg_query(pg, statement, &again, &mended);
        wrong = e ? 0 : pg_get_int(mended, 0, 0);
    }
    found->wrong += wrong;
    return e;
}

/* The days from row `first` to row `last`, which follow one another. */
static enum err run_piece(struct pg *pg, const struct rebuild *rebuild, int64_t workspace_id,
                          const PGresult *days, int first, int last, struct rebuild_found *found)
{
    struct pg_params params = {0};
    pg_int(&params, workspace_id);
    pg_text(&params, pg_get_text(days, first, 0));
    pg_text(&params, pg_get_text(days, last, 0));
    found->days += last - first + 1;
    return compare(pg, &ROLLUPS, &params, rebuild->mend, found);
}

static enum err run_workspace(struct pg *pg, const struct rebuild *rebuild, int64_t workspace_id,
                              struct rebuild_found *found)
{
    struct pg_params params = {0}, active = {0};
    PG_RESULT_AUTO days = NULL;
    pg_int(&params, workspace_id);
    pg_text(&params, rebuild->first_day);
    pg_text(&params, rebuild->last_day);
    enum err e = pg_query(pg, &DAYS, &params, &days);
    int64_t events = 0;
    for (int first = 0, row = 0; !e && row < PQntuples(days); row++) {
        bool last = row + 1 == PQntuples(days);
        int64_t told = pg_get_int(days, row, 1);
        events += told;
        if (last || !told || events >= PIECE_EVENTS || row - first + 1 >= PIECE_DAYS ||
            !pg_get_bool(days, row, 2)) {
            e = run_piece(pg, rebuild, workspace_id, days, first, row, found);
            first = row + 1;
            events = 0;
        }
    }
    pg_int(&active, workspace_id);
    return e ? e : compare(pg, &ACTIVE_DAYS, &active, rebuild->mend, found);
}

enum err rebuild_run(struct pg *pg, const struct rebuild *rebuild, const struct progress *progress,
                     struct rebuild_found *ret_found)
{
    struct pg_params params = {0};
    PG_RESULT_AUTO workspaces = NULL;
    struct rebuild_found found = {0};
    pg_int(&params, rebuild->workspace_id);
    enum err e = pg_query(pg, &WORKSPACES, &params, &workspaces);
    int total = e ? 0 : PQntuples(workspaces);
    for (int row = 0; !e && row < total; row++) {
        e = run_workspace(pg, rebuild, pg_get_int(workspaces, row, 0), &found);
        found.workspaces++;
        progress_tell(progress, row + 1, total);
    }
    if (!e) {
        *ret_found = found;
    }
    return e;
}
