-- The days of a workspace whose rollups can be compared with its events: about how many events each has, and whether the next row is
-- the next day. Days of partitions that were dropped, or are taken out for it, are left out, for their events are not there.
--   $1 workspace, $2 and $3 first and last day, or NULL
WITH bounds AS (
    SELECT coalesce($2::date, least((SELECT min(day) FROM rollup_day WHERE workspace_id = $1),
                                    (SELECT (min(occurred_at) AT TIME ZONE 'UTC')::date FROM events WHERE workspace_id = $1))) AS first,
           coalesce($3::date, greatest((SELECT max(day) FROM rollup_day WHERE workspace_id = $1),
                                       (SELECT (max(occurred_at) AT TIME ZONE 'UTC')::date FROM events WHERE workspace_id = $1))) AS last
), days AS (
    SELECT day::date
    FROM bounds, generate_series(bounds.first::timestamp, bounds.last::timestamp, interval '1 day') AS day
    WHERE NOT EXISTS (SELECT FROM event_archives a WHERE a.dropped_at IS NOT NULL AND a.restored_at IS NULL
                      AND day AT TIME ZONE 'UTC' >= a.first AND day AT TIME ZONE 'UTC' < a.next)
      AND NOT EXISTS (SELECT FROM event_partitions p WHERE NOT p.attached
                      AND day AT TIME ZONE 'UTC' >= p.first AND day AT TIME ZONE 'UTC' < p.next)
)
SELECT d.day, coalesce((SELECT sum(r.events) FROM rollup_day r WHERE r.workspace_id = $1 AND r.day = d.day), 0)::bigint,
       coalesce(lead(d.day) OVER (ORDER BY d.day) = d.day + 1, false)
FROM days d
ORDER BY d.day
