-- SPDX-License-Identifier: Apache-2.0
--
-- Events :first to :last of a workspace, as if they had been recorded over the last :days days, and then
-- everything that is kept of them beside the raw rows. psql variables: workspace, first, last, users, days.
--
-- Rows come in the order of time. A second call with the next numbers spreads them over the same days
-- again. Whatever is derived is made anew from all events of the workspace, so nobody may write to it
-- meanwhile. A new derived table needs one more pair of statements here; tests/env/consistency.py tells
-- when one was forgotten.

SET work_mem = '256MB';
SET timezone = 'UTC';
SET synchronous_commit = off;

-- ---- The events themselves -------------------------------------------------------------------------

CREATE TEMP TABLE span AS
SELECT :first::bigint AS first, :last::bigint AS last, now() - make_interval(days => :days) AS since,
       make_interval(secs => extract(epoch FROM make_interval(days => :days)) / (:last - :first + 1)) AS step;

SELECT ensure_event_partition(day::date, 'month')
FROM span, generate_series(since, now() + interval '1 day', interval '1 day') AS day;

INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata)
SELECT :workspace, since + (n - first) * step, 'fill-' || lpad(n::text, 10, '0'),
       ('{api_call,tool_execution,session,cost,page_view,error}'::text[])[1 + abs(hashint8(n)) % 6],
       (n % 1000) / 100.0,
       'user-' || lpad((abs(hashint8(n + 1000000007)) % :users)::text, 5, '0'),
       '{"path": "/v1/x", "status": 200}'
FROM span, generate_series(first, last) AS n;

INSERT INTO event_ids (workspace_id, id, bucket, receipt, occurred_at)
SELECT :workspace, 'fill-' || lpad(n::text, 10, '0'), event_id_bucket(now()), gen_random_uuid(),
       since + (n - first) * step
FROM span, generate_series(first, last) AS n;

-- ---- What is derived from them ---------------------------------------------------------------------

BEGIN;
DELETE FROM rollup_hour WHERE workspace_id = :workspace;
INSERT INTO rollup_hour (workspace_id, hour, type, shard, events, total, minimum, maximum)
SELECT workspace_id, date_trunc('hour', occurred_at, 'UTC'), type, 0,
       count(*), sum(value), min(value), max(value)
FROM events
WHERE workspace_id = :workspace
GROUP BY 1, 2, 3;
COMMIT;

BEGIN;
DELETE FROM rollup_day WHERE workspace_id = :workspace;
INSERT INTO rollup_day (workspace_id, day, type, shard, events, total, minimum, maximum)
SELECT workspace_id, (hour AT TIME ZONE 'UTC')::date, type, 0,
       sum(events), sum(total), min(minimum), max(maximum)
FROM rollup_hour
WHERE workspace_id = :workspace
GROUP BY 1, 2, 3;
COMMIT;

BEGIN;
DELETE FROM rollup_user_day WHERE workspace_id = :workspace;
INSERT INTO rollup_user_day (workspace_id, day, user_id, type, shard, events, total)
SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date, user_id, type, 0, count(*), sum(value)
FROM events
WHERE workspace_id = :workspace
GROUP BY 1, 2, 3, 4;
COMMIT;

-- The lock of settle_active_days(), which the housekeeper calls at any time.
BEGIN;
SELECT pg_advisory_xact_lock(hashtext('settle_active_days'));
DELETE FROM active_days_new WHERE workspace_id = :workspace;
DELETE FROM active_days WHERE workspace_id = :workspace;
DELETE FROM active_gaps WHERE workspace_id = :workspace;
INSERT INTO active_days (workspace_id, user_id, day)
SELECT DISTINCT workspace_id, user_id, day FROM rollup_user_day WHERE workspace_id = :workspace;
INSERT INTO active_gaps (workspace_id, day, previous_day, users)
SELECT workspace_id, day, previous_day, count(*)
FROM (SELECT workspace_id, day,
             coalesce(lag(day) OVER (PARTITION BY user_id ORDER BY day), '-infinity') AS previous_day
      FROM active_days WHERE workspace_id = :workspace) AS pairs
GROUP BY 1, 2, 3;
COMMIT;

INSERT INTO totals AS t (name, shard, n) VALUES ('events', 0, :last - :first + 1)
ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n;

-- ---- As autovacuum would leave it ------------------------------------------------------------------

VACUUM (ANALYZE) events, event_ids, rollup_hour, rollup_day, rollup_user_day, active_days, active_days_new,
                 active_gaps, totals;
