-- Bring back events of an archive, which the rollups have counted already. Answers how many there are, and how many were added: the
-- others are there, or their workspace is gone.
--   $1 the events as an array, see archive_events.sql
WITH given AS MATERIALIZED (
    SELECT e FROM jsonb_array_elements($1::jsonb) AS e
), added AS (
    INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata, received_at)
    SELECT w.id, (e ->> 'timestamp')::timestamptz, e ->> 'id', e ->> 'type', (e ->> 'value')::numeric, e ->> 'user_id',
           CASE jsonb_typeof(e -> 'metadata') WHEN 'null' THEN NULL ELSE e -> 'metadata' END, (e ->> 'received_at')::timestamptz
    FROM given
    JOIN workspaces w ON w.id = (e ->> 'workspace_id')::bigint AND w.closed_at IS NULL
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM given), (SELECT count(*) FROM added)
