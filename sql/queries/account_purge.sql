-- Erase up to $1 rows of each kind from one closed workspace, and the workspace itself with its
-- last row. The oldest is first. Answers how many rows went.
-- A batch that began before the workspace was closed may still be at work, so nothing is touched
-- until longer after than any statement of the service can last (database_timeout_ms, its maximum).
-- The id is asked for as a scalar, so that each piece is found once and not anew for every row.
WITH space AS MATERIALIZED (
    SELECT id FROM workspaces
    WHERE closed_at < now() - interval '15 minutes'
    ORDER BY closed_at LIMIT 1 FOR UPDATE SKIP LOCKED
), raw AS (
    DELETE FROM events
    WHERE workspace_id = (SELECT id FROM space) AND (occurred_at, id) IN (
        SELECT o.occurred_at, o.id FROM events o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), ids AS (
    DELETE FROM event_ids
    WHERE workspace_id = (SELECT id FROM space) AND id IN (
        SELECT o.id FROM event_ids o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), hours AS (
    DELETE FROM rollup_hour
    WHERE workspace_id = (SELECT id FROM space) AND (hour, type, shard) IN (
        SELECT o.hour, o.type, o.shard FROM rollup_hour o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), days AS (
    DELETE FROM rollup_user_day
    WHERE workspace_id = (SELECT id FROM space) AND (day, user_id, type, shard) IN (
        SELECT o.day, o.user_id, o.type, o.shard FROM rollup_user_day o
        WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), actives AS (
    DELETE FROM active_days
    WHERE workspace_id = (SELECT id FROM space) AND (user_id, day) IN (
        SELECT o.user_id, o.day FROM active_days o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), births AS (
    DELETE FROM active_days_new
    WHERE workspace_id = (SELECT id FROM space) AND (user_id, day) IN (
        SELECT o.user_id, o.day FROM active_days_new o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), gaps AS (
    DELETE FROM active_gaps
    WHERE workspace_id = (SELECT id FROM space) AND (day, previous_day) IN (
        SELECT o.day, o.previous_day FROM active_gaps o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), totals_of_days AS (
    DELETE FROM rollup_day
    WHERE workspace_id = (SELECT id FROM space) AND (day, type, shard) IN (
        SELECT o.day, o.type, o.shard FROM rollup_day o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), late AS ( -- one row a committer
    DELETE FROM late_events WHERE workspace_id = (SELECT id FROM space)
    RETURNING 1
), told AS (
    DELETE FROM domain_events
    WHERE workspace_id = (SELECT id FROM space) AND (at, id) IN (
        SELECT o.at, o.id FROM domain_events o WHERE o.workspace_id = (SELECT id FROM space) AND NOT o.platform LIMIT $1::bigint)
    RETURNING 1
), carried AS (
    DELETE FROM deliveries
    WHERE workspace_id = (SELECT id FROM space) AND (webhook_id, id) IN (
        SELECT o.webhook_id, o.id FROM deliveries o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), delivered AS (
    DELETE FROM deliveries_done
    WHERE workspace_id = (SELECT id FROM space) AND (webhook_id, id) IN (
        SELECT o.webhook_id, o.id FROM deliveries_done o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), runs AS (
    DELETE FROM report_runs
    WHERE workspace_id = (SELECT id FROM space) AND id IN (
        SELECT o.id FROM report_runs o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), files AS (
    DELETE FROM report_files
    WHERE workspace_id = (SELECT id FROM space) AND (run_id, no) IN (
        SELECT o.run_id, o.no FROM report_files o WHERE o.workspace_id = (SELECT id FROM space) LIMIT $1::bigint)
    RETURNING 1
), erased AS (
    SELECT (SELECT count(*) FROM raw) + (SELECT count(*) FROM ids) + (SELECT count(*) FROM hours)
         + (SELECT count(*) FROM days) + (SELECT count(*) FROM actives) + (SELECT count(*) FROM births)
         + (SELECT count(*) FROM gaps) + (SELECT count(*) FROM totals_of_days) + (SELECT count(*) FROM late)
         + (SELECT count(*) FROM told) + (SELECT count(*) FROM carried) + (SELECT count(*) FROM delivered)
         + (SELECT count(*) FROM runs) + (SELECT count(*) FROM files) AS n
), counted AS (
    INSERT INTO totals AS t (name, shard, n) SELECT 'events', 0, -count(*) FROM raw HAVING count(*) > 0
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
), empty AS (
    DELETE FROM workspaces WHERE id = (SELECT id FROM space) AND (SELECT n FROM erased) = 0
    RETURNING 1
)
SELECT n + (SELECT count(*) FROM empty) FROM erased
