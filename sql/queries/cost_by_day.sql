-- Costs by day, highest first.
--   $1 workspace, $2 first day, $3 number of days, $4 and $5 cost and day to start after, or NULL, $6 limit
SELECT day::text, trim_scale(sum(total)), sum(events)
FROM rollup_day
WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int AND type = 'cost'
GROUP BY day
HAVING $4::numeric IS NULL OR sum(total) < $4::numeric OR (sum(total) = $4::numeric AND day > $5::date)
ORDER BY sum(total) DESC, day
LIMIT $6
