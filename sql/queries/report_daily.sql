-- Each day of a period, those without events as well.
--   $1 workspace, $2 first day, $3 number of days
WITH found AS (
    SELECT day, sum(events) AS events, sum(total) AS value, coalesce(sum(total) FILTER (WHERE type = 'cost'), 0) AS cost
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int
    GROUP BY day
)
SELECT d.day::text, coalesce(f.events, 0),
       CASE WHEN f.day IS NULL THEN 0 ELSE active_users($1, d.day, 1) END,
       trim_scale(coalesce(f.value, 0)), trim_scale(coalesce(f.cost, 0))
FROM (SELECT $2::date + n AS day FROM generate_series(0, $3::int - 1) AS n) d
LEFT JOIN found f ON f.day = d.day
ORDER BY d.day
