-- Totals of a period, its first and last event, and the change against the period of the same length before.
--   $1 workspace, $2 first day, $3 number of days
-- Columns: events, value, users, first, last; then for each of the first three: previous, difference, percent. 0e-20
-- lends a quotient twenty digits more, so that it is rounded once.
WITH days AS (
    SELECT coalesce(sum(events) FILTER (WHERE day >= $2::date), 0) AS events,
           coalesce(sum(total) FILTER (WHERE day >= $2::date), 0) AS value,
           coalesce(sum(events) FILTER (WHERE day < $2::date), 0) AS events_before,
           coalesce(sum(total) FILTER (WHERE day < $2::date), 0) AS value_before,
           active_users($1, $2::date, $3::int)::numeric AS users,
           active_users($1, $2::date - $3::int, $3::int)::numeric AS users_before
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date - $3::int AND day < $2::date + $3::int
)
SELECT events, trim_scale(value), users,
       (extract(epoch FROM (SELECT occurred_at FROM events
                            WHERE workspace_id = $1 AND occurred_at >= $2::date::timestamp AT TIME ZONE 'UTC'
                              AND occurred_at < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC'
                            ORDER BY occurred_at LIMIT 1)) * 1000000)::bigint,
       (extract(epoch FROM (SELECT occurred_at FROM events
                            WHERE workspace_id = $1 AND occurred_at >= $2::date::timestamp AT TIME ZONE 'UTC'
                              AND occurred_at < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC'
                            ORDER BY occurred_at DESC LIMIT 1)) * 1000000)::bigint,
       events_before, events - events_before,
       trim_scale(round((100 + 0e-20) * (events - events_before) / nullif(abs(events_before), 0), 2)),
       trim_scale(value_before), trim_scale(value - value_before),
       trim_scale(round((100 + 0e-20) * (value - value_before) / nullif(abs(value_before), 0), 2)),
       users_before, users - users_before,
       trim_scale(round((100 + 0e-20) * (users - users_before) / nullif(abs(users_before), 0), 2))
FROM days
