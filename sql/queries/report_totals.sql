-- Totals of a day and their change against the day before.  $1 workspace, $2 day
-- Columns: events, users, cost; then for each of the three: previous, difference, percent. 0e-20 lends a quotient
-- twenty digits more, so that it is rounded once.
WITH days AS (
    SELECT day,
           sum(events) AS events,
           active_users($1, day, 1)::numeric AS users,
           coalesce(sum(total) FILTER (WHERE type = 'cost'), 0) AS cost
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date - 1 AND day <= $2::date
    GROUP BY day
), pair AS (
    SELECT coalesce(max(events) FILTER (WHERE day = $2::date), 0) AS events,
           coalesce(max(users) FILTER (WHERE day = $2::date), 0) AS users,
           coalesce(max(cost) FILTER (WHERE day = $2::date), 0) AS cost,
           coalesce(max(events) FILTER (WHERE day < $2::date), 0) AS events_before,
           coalesce(max(users) FILTER (WHERE day < $2::date), 0) AS users_before,
           coalesce(max(cost) FILTER (WHERE day < $2::date), 0) AS cost_before
    FROM days
)
SELECT events, users, trim_scale(cost),
       events_before, events - events_before,
       trim_scale(round((100 + 0e-20) * (events - events_before) / nullif(abs(events_before), 0), 2)),
       users_before, users - users_before,
       trim_scale(round((100 + 0e-20) * (users - users_before) / nullif(abs(users_before), 0), 2)),
       trim_scale(cost_before), trim_scale(cost - cost_before),
       trim_scale(round((100 + 0e-20) * (cost - cost_before) / nullif(abs(cost_before), 0), 2))
FROM pair
