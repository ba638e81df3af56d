-- Distinct users in groups that no rollup holds, from raw events. See analytics/query.h.
--   $1 workspace, $2 first day, $3 number of days, $4 measure, $5 group, $6 type or NULL, $7 order, $8 limit,
--   $9 member of the metadata
-- Columns: group (of a longer one its first 1,000 characters and …), value, events.
WITH groups AS (
    SELECT CASE $5 WHEN 'metadata' THEN metadata ->> $9::text WHEN 'user' THEN user_id
                   WHEN 'hour' THEN to_char(date_trunc('hour', occurred_at, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END AS grouped,
           count(*) AS events,
           count(DISTINCT user_id)::numeric AS value
    FROM events
    WHERE workspace_id = $1 AND occurred_at >= $2::date::timestamp AT TIME ZONE 'UTC'
      AND occurred_at < ($2::date + $3::int)::timestamp AT TIME ZONE 'UTC' AND ($6::text IS NULL OR type = $6::text)
    GROUP BY 1
)
SELECT CASE WHEN length(grouped) > 1000 THEN left(grouped, 1000) || '…' ELSE grouped END, trim_scale(value), events
FROM groups
WHERE $4 = 'unique_users'
ORDER BY CASE $7 WHEN 'value' THEN value END NULLS LAST, CASE $7 WHEN '-value' THEN value END DESC NULLS LAST,
         CASE $7 WHEN '-group' THEN grouped END COLLATE "C" DESC NULLS LAST, grouped COLLATE "C" NULLS LAST
LIMIT $8
