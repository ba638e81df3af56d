-- Events in each of the 24 hours of a day in UTC, empty ones included.
--   $1 workspace, $2 day, $3 number of days (1)
SELECT h.hour, coalesce(sum(r.events), 0)
FROM generate_series(0, 23) AS h (hour)
LEFT JOIN rollup_hour r
    ON r.workspace_id = $1
    AND r.hour >= $2::date::timestamp AT TIME ZONE 'UTC' AND r.hour < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC'
    AND extract(hour FROM r.hour AT TIME ZONE 'UTC') = h.hour
GROUP BY h.hour
ORDER BY h.hour
