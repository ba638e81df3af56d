# SPDX-License-Identifier: Apache-2.0
"""What must hold between a workspace's raw events and everything that was derived from them."""

ROLLUPS = {
    "rollup_hour": ("date_trunc('hour', occurred_at, 'UTC') AS hour, type", "hour, type", True),
    "rollup_day": ("(occurred_at AT TIME ZONE 'UTC')::date AS day, type", "day, type", True),
    "rollup_user_day": ("(occurred_at AT TIME ZONE 'UTC')::date AS day, user_id, type", "day, user_id, type", False),
}

GAPS = """
WITH truth AS (
    SELECT day, coalesce(lag(day) OVER (PARTITION BY user_id ORDER BY day), '-infinity') AS previous_day
    FROM (SELECT DISTINCT user_id, (occurred_at AT TIME ZONE 'UTC')::date AS day
          FROM events WHERE workspace_id = {0}) AS active
), counted AS (SELECT day, previous_day, count(*) AS users FROM truth GROUP BY 1, 2)
SELECT coalesce(c.day, g.day)::text, coalesce(c.previous_day, g.previous_day)::text, c.users, g.users
FROM counted c FULL JOIN (SELECT * FROM active_gaps WHERE workspace_id = {0} AND users <> 0) g
    ON g.day = c.day AND g.previous_day = c.previous_day
WHERE c.users IS DISTINCT FROM g.users
"""


def differences(postgres, workspace):
    """Every row of a rollup that is not what the raw events say, as texts; none is as it should be."""
    workspace = int(workspace)
    found = []
    for table, (keys, names, with_bounds) in ROLLUPS.items():
        bounds = ", min({0}), max({1})" if with_bounds else ""
        raw = (f"SELECT {names}, count(*), sum(value){bounds.format('value', 'value')} FROM "
               f"(SELECT {keys}, value FROM events WHERE workspace_id = {workspace}) AS e GROUP BY {names}")
        rolled = (f"SELECT {names}, sum(events), sum(total){bounds.format('minimum', 'maximum')} "
                  f"FROM {table} WHERE workspace_id = {workspace} GROUP BY {names}")
        for more, one, other in (("missing or wrong", raw, rolled), ("not in the events", rolled, raw)):
            for row in postgres.query(f"({one}) EXCEPT ({other})"):
                found.append(f"{table}: {more}: {row}")
    settle(postgres)
    found += [f"active_gaps: {row}" for row in postgres.query(GAPS.format(workspace))]
    return found


def settle(postgres):
    """Take over all births of active days that nobody took over yet."""
    for _ in range(10000):
        if postgres.value("SELECT count(*) FROM active_days_new") == 0:
            return
        postgres.query("SELECT settle_active_days(10000)")
    raise AssertionError("births are never settled")


def check(postgres, workspace):
    found = differences(postgres, workspace)
    assert not found, "\n".join(found[:20])
