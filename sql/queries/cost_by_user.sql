-- Costs by user, highest first.
--   $1 workspace, $2 first day, $3 number of days, $4 and $5 cost and user to start after, or NULL, $6 limit
SELECT user_id, trim_scale(sum(total)), sum(events)
FROM rollup_user_day
WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int AND type = 'cost'
GROUP BY user_id
HAVING $4::numeric IS NULL OR sum(total) < $4::numeric OR (sum(total) = $4::numeric AND user_id > $5)
ORDER BY sum(total) DESC, user_id
LIMIT $6
