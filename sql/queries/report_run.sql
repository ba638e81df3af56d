-- Begin a run of a report, unless too many of the workspace's wait, or were asked for within a day: as many rows as began.
--   $1 workspace, $2 report, $3 the run's id, $4 its job, $5 who asks or 0, $6 how many may wait, $7 and be asked for
WITH today AS (
    SELECT (now() AT TIME ZONE 'UTC')::date AS day
), span AS (
    SELECT r.*, t.day + 1 AS tomorrow,
           CASE range WHEN 'yesterday' THEN t.day - 1
                      WHEN 'last_week' THEN date_trunc('week', t.day::timestamp)::date - 7
                      WHEN 'last_month' THEN (date_trunc('month', t.day::timestamp) - interval '1 month')::date
                      WHEN 'this_month' THEN date_trunc('month', t.day::timestamp)::date
                      ELSE t.day + 1 - rtrim(range, 'd')::int END AS first,
           CASE range WHEN 'yesterday' THEN t.day
                      WHEN 'last_week' THEN date_trunc('week', t.day::timestamp)::date
                      WHEN 'last_month' THEN date_trunc('month', t.day::timestamp)::date
                      ELSE t.day + 1 END AS past
    FROM reports r, today t
    WHERE r.workspace_id = $1 AND r.id = $2::uuid
    FOR KEY SHARE OF r -- or it might go meanwhile
)
INSERT INTO report_runs (workspace_id, report_id, id, job_id, name, sections, format, first_day, days, created_by)
SELECT workspace_id, id, $3::uuid, $4::bigint, name, sections, format, first, past - first, nullif($5::bigint, 0)
FROM span
WHERE (SELECT count(*) FROM report_runs o JOIN jobs j ON j.id = o.job_id AND j.state <> 'dead'
       WHERE o.workspace_id = $1 AND o.state IN ('queued', 'running')) < $6::int
  AND (SELECT count(*) FROM report_runs d WHERE d.workspace_id = $1 AND d.created_at > now() - interval '1 day') < $7::int
RETURNING id
