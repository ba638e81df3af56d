-- Each type's figures in a period and in the period of the same length before, busiest first.
--   $1 workspace, $2 first day, $3 number of days
SELECT type,
       coalesce(sum(events) FILTER (WHERE day >= $2::date), 0) AS now,
       trim_scale(coalesce(sum(total) FILTER (WHERE day >= $2::date), 0)),
       trim_scale(min(minimum) FILTER (WHERE day >= $2::date)),
       trim_scale(max(maximum) FILTER (WHERE day >= $2::date)),
       coalesce(sum(events) FILTER (WHERE day < $2::date), 0),
       trim_scale(coalesce(sum(total) FILTER (WHERE day < $2::date), 0))
FROM rollup_day
WHERE workspace_id = $1 AND day >= $2::date - $3::int AND day < $2::date + $3::int
GROUP BY type
ORDER BY now DESC, type
LIMIT 1000
