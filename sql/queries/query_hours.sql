-- Groups by hour, from the rollup of hours. See analytics/query.h.
--   $1 workspace, $2 first day, $3 number of days, $4 measure, $5 group, $6 type or NULL, $7 order, $8 limit,
--   $9 member of the metadata
-- Columns: group, value, events. 0e-20 lends a quotient twenty digits more, so that it is rounded once.
WITH groups AS (
    SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS grouped,
           sum(events) AS events,
           CASE $4 WHEN 'count' THEN sum(events) WHEN 'sum' THEN sum(total)
                   WHEN 'avg' THEN round(sum(total) * (1 + 0e-20) / sum(events), 6)
                   WHEN 'min' THEN min(minimum) WHEN 'max' THEN max(maximum) END AS value
    FROM rollup_hour
    WHERE workspace_id = $1 AND hour >= $2::date::timestamp AT TIME ZONE 'UTC'
      AND hour < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC' AND ($6::text IS NULL OR type = $6::text)
    GROUP BY hour
)
SELECT grouped, trim_scale(value), events
FROM groups
WHERE $5 = 'hour' AND $9::text IS NULL
ORDER BY CASE $7 WHEN 'value' THEN value END NULLS LAST, CASE $7 WHEN '-value' THEN value END DESC NULLS LAST,
         CASE $7 WHEN '-group' THEN grouped END COLLATE "C" DESC NULLS LAST, grouped COLLATE "C" NULLS LAST
LIMIT $8
