-- The figures of GET /analytics/usage/{user_id}. 0e-20 lends a quotient twenty digits more, so that it is rounded once.
--   $1 workspace, $2 first day, $3 number of days, $4 user
WITH usage AS (
    SELECT coalesce(sum(events) FILTER (WHERE type = 'api_call'), 0) AS api_calls,
           coalesce(sum(events) FILTER (WHERE type = 'tool_execution'), 0) AS tool_executions,
           coalesce(sum(total) FILTER (WHERE type = 'cost'), 0) AS cost,
           coalesce(sum(events) FILTER (WHERE type = 'session'), 0) AS sessions,
           coalesce(sum(total) FILTER (WHERE type = 'session'), 0) AS session_seconds
    FROM rollup_user_day
    WHERE workspace_id = $1 AND user_id = $4 AND day >= $2::date AND day < $2::date + $3::int
)
SELECT api_calls, tool_executions, trim_scale(cost), sessions,
       CASE WHEN sessions = 0 THEN 0 ELSE trim_scale(round(session_seconds * (1 + 0e-20) / sessions, 6)) END
FROM usage
