-- Record a batch: drop duplicates, insert, update all rollups from just the rows that are new, and tell
-- what became of those that are not. One statement is one transaction is one fsync.
--   $1..$8 one array a column, sorted by workspace and id; $9 the committer's shard
--
-- Near a boundary of the duplicate window an id is written to both buckets, the lower one first, and is
-- fresh when it is new in both; at other times `lower` is `higher` and the first insert does nothing. Who comes
-- first in the higher one has won: the other may leave a row in the lower one behind, which is why the highest is the
-- row that stands. Rows are written in the order of their key, which is that of the batch, so that two batches with the
-- same ids wait for each other in one direction only.
-- The same id at the same time from before the window is refused by the key of events, and then the
-- committer asks for such rows (ingest_known.sql): a check here would cost each event a tenth more.
--
-- The bucket before is asked by a scalar subquery, so that it is a lookup for each id, whatever the
-- planner believes of the batch's size.
--
-- Answers one row for each event that was not recorded by this statement: its place (from 1), whether its
-- workspace is open, whether the row that stands is this attempt's own, and that row's time. The last two are
-- NULL when this statement cannot see the row: a twin in the batch, or another transaction's.
WITH batch AS MATERIALIZED (
    SELECT *
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::uuid[])
         WITH ORDINALITY AS b (workspace_id, id, type, value, user_id, metadata, occurred_at, receipt, n)
), span AS MATERIALIZED (
    SELECT event_id_bucket(now() - interval '1 hour') AS lower, event_id_bucket(now() + interval '1 hour') AS higher
), open AS MATERIALIZED (
    SELECT id FROM workspaces WHERE closed_at IS NULL AND id IN (SELECT workspace_id FROM batch)
), unseen AS MATERIALIZED ( -- by the bucket before
    SELECT n, workspace_id, id, receipt, occurred_at
    FROM batch
    WHERE workspace_id IN (SELECT id FROM open)
      AND (SELECT e.receipt FROM event_ids e
           WHERE e.workspace_id = batch.workspace_id AND e.id = batch.id AND e.bucket = (SELECT lower - 1 FROM span)) IS NULL
), early AS (
    INSERT INTO event_ids (workspace_id, id, bucket, receipt, occurred_at)
    SELECT workspace_id, id, (SELECT lower FROM span), receipt, occurred_at
    FROM unseen
    WHERE (SELECT lower < higher FROM span)
    ORDER BY n
    ON CONFLICT DO NOTHING
    RETURNING receipt
), fresh AS (
    INSERT INTO event_ids (workspace_id, id, bucket, receipt, occurred_at)
    SELECT workspace_id, id, (SELECT higher FROM span), receipt, occurred_at
    FROM unseen
    WHERE (SELECT lower = higher FROM span) OR receipt IN (SELECT receipt FROM early)
    ORDER BY n
    ON CONFLICT DO NOTHING
    RETURNING receipt
), added AS (
    INSERT INTO events (workspace_id, occurred_at, id, type, value, user_id, metadata)
    SELECT workspace_id, occurred_at, id, type, value::numeric, user_id, metadata::jsonb
    FROM batch
    WHERE receipt IN (SELECT receipt FROM fresh)
    RETURNING workspace_id, occurred_at, type, value, user_id
), told AS ( -- those that are domain events as well, where the workspace wants it; the types stand here so that others cost nothing
    INSERT INTO event_outbox (id, type, subject, workspace_id, platform, user_id, data)
    SELECT b.receipt, b.type, 'usage:' || b.user_id, b.workspace_id, false, NULL,
           jsonb_build_object('id', b.id, 'type', b.type, 'value', b.value::numeric, 'user_id', b.user_id, 'metadata', b.metadata::jsonb,
                              'timestamp', to_char(b.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
    FROM batch b
    WHERE b.type IN ('agent.executed', 'agent.failed', 'credit.consumed', 'integration.connected')
      -- As subqueries of each row, the second one hashed: no join could put the few before the many.
      AND (SELECT b.type = ANY (w.told_types) FROM workspaces w WHERE w.id = b.workspace_id) IS TRUE
      AND (b.receipt IN (SELECT receipt FROM fresh)) IS TRUE
    ORDER BY b.n
), per_hour AS MATERIALIZED (
    SELECT workspace_id, date_trunc('hour', occurred_at, 'UTC') AS hour, type,
           count(*) AS events, sum(value) AS total, min(value) AS minimum, max(value) AS maximum
    FROM added
    GROUP BY 1, 2, 3
), hours AS (
    INSERT INTO rollup_hour AS r (workspace_id, hour, type, shard, events, total, minimum, maximum)
    SELECT workspace_id, hour, type, $9::int, events, total, minimum, maximum FROM per_hour
    ON CONFLICT (workspace_id, hour, type, shard) DO UPDATE
    SET events = r.events + excluded.events, total = r.total + excluded.total,
        minimum = least(r.minimum, excluded.minimum), maximum = greatest(r.maximum, excluded.maximum)
), days AS (
    INSERT INTO rollup_day AS r (workspace_id, day, type, shard, events, total, minimum, maximum)
    SELECT workspace_id, (hour AT TIME ZONE 'UTC')::date, type, $9::int, sum(events), sum(total), min(minimum), max(maximum)
    FROM per_hour
    GROUP BY 1, 2, 3
    ON CONFLICT (workspace_id, day, type, shard) DO UPDATE
    SET events = r.events + excluded.events, total = r.total + excluded.total,
        minimum = least(r.minimum, excluded.minimum), maximum = greatest(r.maximum, excluded.maximum)
), users AS (
    INSERT INTO rollup_user_day AS r (workspace_id, day, user_id, type, shard, events, total)
    SELECT workspace_id, (occurred_at AT TIME ZONE 'UTC')::date, user_id, type, $9::int, count(*), sum(value)
    FROM added
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (workspace_id, day, user_id, type, shard) DO UPDATE
    SET events = r.events + excluded.events, total = r.total + excluded.total
    RETURNING workspace_id, user_id, day, xmax = 0 AS inserted
), births AS ( -- the only rows besides ids that committers share: sorted, so that they cannot deadlock
    INSERT INTO active_days_new (workspace_id, user_id, day)
    SELECT DISTINCT workspace_id, user_id, day FROM users WHERE inserted
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING
), late AS ( -- half an hour is longer than a statement can last: see finished periods in analytics/period.h
    INSERT INTO late_events AS l (workspace_id, shard, events)
    SELECT workspace_id, $9::int, sum(events)
    FROM per_hour
    WHERE date_trunc('day', hour, 'UTC') + interval '1 day 30 minutes' <= now()
    GROUP BY 1
    ON CONFLICT (workspace_id, shard) DO UPDATE SET events = l.events + excluded.events
), counted AS (
    INSERT INTO totals AS t (name, shard, n)
    SELECT 'events', $9::int, count(*) FROM added HAVING count(*) > 0
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
)
SELECT b.n, b.workspace_id IN (SELECT id FROM open), standing.receipt = b.receipt,
       (extract(epoch FROM standing.occurred_at) * 1000000)::bigint
FROM batch b
LEFT JOIN LATERAL (
    SELECT e.receipt, e.occurred_at FROM event_ids e
    WHERE e.workspace_id = b.workspace_id AND e.id = b.id AND e.bucket >= (SELECT lower - 1 FROM span)
    ORDER BY e.bucket DESC
    LIMIT 1
) standing ON true
WHERE b.receipt NOT IN (SELECT receipt FROM fresh)
