-- The figures of GET /analytics/metrics. 0e-20 lends a quotient twenty digits more, so that it is rounded once.
--   $1 workspace, $2 first day, $3 number of days
WITH usage AS (
    SELECT coalesce(sum(events), 0) AS events,
           coalesce(sum(events) FILTER (WHERE type = 'api_call'), 0) AS api_calls,
           coalesce(sum(events) FILTER (WHERE type = 'tool_execution'), 0) AS tool_executions,
           coalesce(sum(events) FILTER (WHERE type = 'session'), 0) AS sessions,
           coalesce(sum(total) FILTER (WHERE type = 'session'), 0) AS session_seconds,
           coalesce(sum(total) FILTER (WHERE type = 'cost'), 0) AS cost,
           active_users($1, $2::date, $3::int) AS users
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int
), peak AS (
    SELECT extract(hour FROM hour AT TIME ZONE 'UTC')::int AS hour
    FROM rollup_hour
    WHERE workspace_id = $1 AND hour >= $2::date::timestamp AT TIME ZONE 'UTC'
      AND hour < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC'
    GROUP BY 1
    ORDER BY sum(events) DESC, 1
    LIMIT 1
)
SELECT events, users, api_calls, tool_executions, sessions,
       CASE WHEN sessions = 0 THEN 0 ELSE trim_scale(round(session_seconds * (1 + 0e-20) / sessions, 6)) END,
       trim_scale(cost),
       CASE WHEN users = 0 THEN 0 ELSE trim_scale(round(cost * (1 + 0e-20) / users, 6)) END,
       CASE WHEN users = 0 THEN 0 ELSE trim_scale(round(api_calls * (1 + 0e-20) / users, 6)) END,
       (SELECT hour FROM peak)
FROM usage
