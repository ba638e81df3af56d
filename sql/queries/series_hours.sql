-- Events and values by type and interval, from the rollup of hours; types past the `limit` busiest are one, NULL.
--   $1 workspace, $2 start, $3 end, $4 hour, day, week or month, $5 type or NULL, $6 limit, $7 zone
-- Columns: rank, type, its events, its value, key of series_times, events, value.
WITH points AS MATERIALIZED (
    SELECT type, CASE $4 WHEN 'hour' THEN hour AT TIME ZONE 'UTC' ELSE date_trunc($4, hour AT TIME ZONE $7) END AS key,
           sum(events) AS events, sum(total) AS total
    FROM rollup_hour
    WHERE workspace_id = $1 AND hour >= $2::timestamptz AND hour < $3::timestamptz
      AND ($5::text IS NULL OR type = $5::text)
    GROUP BY 1, 2
), ranked AS (
    SELECT type, least(row_number() OVER (ORDER BY sum(events) DESC, type), $6::int + 1) AS rank FROM points GROUP BY type
)
SELECT r.rank, CASE WHEN r.rank <= $6::int THEN min(p.type) END,
       sum(sum(p.events)) OVER (PARTITION BY r.rank), trim_scale(sum(sum(p.total)) OVER (PARTITION BY r.rank)),
       (extract(epoch FROM p.key) * 1000000)::bigint, sum(p.events), trim_scale(sum(p.total))
FROM points p JOIN ranked r USING (type)
GROUP BY r.rank, p.key
ORDER BY r.rank, p.key
