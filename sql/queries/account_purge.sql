-- Erase up to $1 rows of each kind from one closed workspace, and the workspace itself with its
-- last row. The oldest is first. Answers how many rows went.
WITH space AS (
    SELECT id FROM workspaces WHERE closed_at IS NOT NULL ORDER BY closed_at LIMIT 1 FOR UPDATE SKIP LOCKED
), raw AS (
    DELETE FROM events e USING space
    WHERE e.workspace_id = space.id AND (e.occurred_at, e.id) IN (
        SELECT o.occurred_at, o.id FROM events o WHERE o.workspace_id = space.id LIMIT $1::bigint)
    RETURNING 1
), ids AS (
    DELETE FROM event_ids e USING space
    WHERE e.workspace_id = space.id AND e.id IN (
        SELECT o.id FROM event_ids o WHERE o.workspace_id = space.id LIMIT $1::bigint)
    RETURNING 1
), hours AS (
    DELETE FROM rollup_hour r USING space
    WHERE r.workspace_id = space.id AND (r.hour, r.type, r.shard) IN (
        SELECT o.hour, o.type, o.shard FROM rollup_hour o WHERE o.workspace_id = space.id LIMIT $1::bigint)
    RETURNING 1
), days AS (
    DELETE FROM rollup_user_day r USING space
    WHERE r.workspace_id = space.id AND (r.day, r.user_id, r.type, r.shard) IN (
        SELECT o.day, o.user_id, o.type, o.shard FROM rollup_user_day o WHERE o.workspace_id = space.id LIMIT $1::bigint)
    RETURNING 1
), erased AS (
    SELECT (SELECT count(*) FROM raw) + (SELECT count(*) FROM ids) + (SELECT count(*) FROM hours)
         + (SELECT count(*) FROM days) AS n
), counted AS (
    INSERT INTO totals AS t (name, shard, n) SELECT 'events', 0, -count(*) FROM raw HAVING count(*) > 0
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
), empty AS (
    DELETE FROM workspaces w USING space, erased WHERE w.id = space.id AND erased.n = 0
    RETURNING 1
)
SELECT erased.n + (SELECT count(*) FROM empty) FROM erased
