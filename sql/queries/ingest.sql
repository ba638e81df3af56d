-- Record a batch: drop duplicates, insert, update both rollups and the total from just the rows
-- that are new, and tell the fate of each. One statement is one transaction is one fsync.
--   $1..$8 one array a column, $9 the committer's shard
-- Upserts are sorted by their keys, so that two committers cannot deadlock on ids they share.
-- Answers in any order: place in the batch (from 1), whether recorded, time of the event that
-- counts (NULL when another transaction recorded the id while this statement ran).
WITH batch AS (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::uuid[])
         WITH ORDINALITY AS b (workspace_id, id, type, value, user_id, metadata, occurred_at, receipt, n)
), fresh AS (
    INSERT INTO event_ids (workspace_id, id, receipt, occurred_at)
    SELECT DISTINCT ON (workspace_id, id) workspace_id, id, receipt, occurred_at
    FROM batch
    WHERE EXISTS (SELECT FROM workspaces w WHERE w.id = batch.workspace_id AND w.closed_at IS NULL)
    ORDER BY workspace_id, id, n
    ON CONFLICT DO NOTHING
    RETURNING workspace_id, id, receipt, occurred_at
), added AS (
    INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata)
    SELECT b.workspace_id, b.occurred_at, b.id, b.type, b.value::numeric, b.user_id, b.metadata::jsonb
    FROM batch b JOIN fresh USING (receipt)
    RETURNING workspace_id, occurred_at, type, value, user_id
), hours AS (
    INSERT INTO rollup_hour AS r (workspace_id, hour, type, shard, events, total, minimum, maximum)
    SELECT workspace_id, date_trunc('hour', occurred_at, 'UTC'), type, $9::int, count(*), sum(value), min(value), max(value)
    FROM added
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT (workspace_id, hour, type, shard) DO UPDATE
    SET events = r.events + excluded.events, total = r.total + excluded.total,
        minimum = least(r.minimum, excluded.minimum), maximum = greatest(r.maximum, excluded.maximum)
), days AS (
    INSERT INTO rollup_user_day AS r (workspace_id, day, user_id, type, shard, events, total)
    SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date, user_id, type, $9::int, count(*), sum(value)
    FROM added
    GROUP BY 1, 2, 3, 4
    ORDER BY 1, 2, 3, 4
    ON CONFLICT (workspace_id, day, user_id, type, shard) DO UPDATE
    SET events = r.events + excluded.events, total = r.total + excluded.total
), counted AS (
    INSERT INTO totals AS t (name, shard, n)
    SELECT 'events', $9::int, count(*) FROM added HAVING count(*) > 0
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
)
SELECT b.n,
       mine.receipt IS NOT NULL OR coalesce(earlier.receipt = b.receipt, false) AS recorded,
       (extract(epoch FROM coalesce(mine.occurred_at, twin.occurred_at, earlier.occurred_at)) * 1000000)::bigint AS occurred_us
FROM batch b
LEFT JOIN fresh mine USING (receipt)
LEFT JOIN fresh twin ON twin.workspace_id = b.workspace_id AND twin.id = b.id
LEFT JOIN LATERAL (
    SELECT e.receipt, e.occurred_at FROM event_ids e
    WHERE twin.id IS NULL AND e.workspace_id = b.workspace_id AND e.id = b.id
    LIMIT 1
) earlier ON true
