-- Totals of a period and their change against the period of the same length before, a row each.
--   $1 workspace, $2 first day, $3 number of days
-- Columns: measure, value, previous, percent. 0e-20 lends a quotient twenty digits more, so that it is rounded once.
WITH days AS (
    SELECT coalesce(sum(events) FILTER (WHERE day >= $2::date), 0) AS events,
           coalesce(sum(total) FILTER (WHERE day >= $2::date), 0) AS value,
           coalesce(sum(total) FILTER (WHERE day >= $2::date AND type = 'cost'), 0) AS cost,
           coalesce(sum(events) FILTER (WHERE day < $2::date), 0) AS events_before,
           coalesce(sum(total) FILTER (WHERE day < $2::date), 0) AS value_before,
           coalesce(sum(total) FILTER (WHERE day < $2::date AND type = 'cost'), 0) AS cost_before
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date - $3::int AND day < $2::date + $3::int
)
SELECT v.measure, trim_scale(v.now), trim_scale(v.before),
       trim_scale(round((100 + 0e-20) * (v.now - v.before) / nullif(abs(v.before), 0), 2))
FROM days, LATERAL (VALUES
    ('events', events::numeric, events_before::numeric),
    ('active_users', active_users($1, $2::date, $3::int)::numeric, active_users($1, $2::date - $3::int, $3::int)::numeric),
    ('value', value, value_before),
    ('cost', cost, cost_before)) AS v (measure, now, before)
