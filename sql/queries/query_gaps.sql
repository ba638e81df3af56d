-- Distinct users of all types, in the whole period or day by day. See analytics/query.h.
--   $1 workspace, $2 first day, $3 number of days, $4 measure, $5 group, $6 type or NULL, $7 order, $8 limit,
--   $9 member of the metadata
-- Columns: group, value, events.
WITH spans AS (
    SELECT CASE $5 WHEN 'day' THEN day END AS day, sum(events) AS events
    FROM rollup_day
    WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int
    GROUP BY 1
), groups AS (
    SELECT day::text AS grouped, events,
           active_users($1, coalesce(day, $2::date), CASE WHEN day IS NULL THEN $3::int ELSE 1 END)::numeric AS value
    FROM spans
)
SELECT grouped, trim_scale(value), events
FROM groups
WHERE $4 = 'unique_users' AND $6::text IS NULL AND $9::text IS NULL
ORDER BY CASE $7 WHEN 'value' THEN value END NULLS LAST, CASE $7 WHEN '-value' THEN value END DESC NULLS LAST,
         CASE $7 WHEN '-group' THEN grouped END COLLATE "C" DESC NULLS LAST, grouped COLLATE "C" NULLS LAST
LIMIT $8
