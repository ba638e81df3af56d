-- Groups by user, and distinct users of types: from the rollup of users and days. See analytics/query.h.
--   $1 workspace, $2 first day, $3 number of days, $4 measure, $5 group, $6 type or NULL, $7 order, $8 limit,
--   $9 member of the metadata
-- Columns: group, value, events. 0e-20 lends a quotient twenty digits more, so that it is rounded once.
WITH groups AS (
    SELECT CASE $5 WHEN 'user' THEN user_id WHEN 'type' THEN type WHEN 'day' THEN day::text END AS grouped,
           sum(events) AS events,
           CASE $4 WHEN 'count' THEN sum(events) WHEN 'sum' THEN sum(total)
                   WHEN 'avg' THEN round(sum(total) * (1 + 0e-20) / sum(events), 6)
                   WHEN 'unique_users' THEN CASE $5 WHEN 'user' THEN 1 ELSE count(DISTINCT user_id) END END AS value
    FROM rollup_user_day
    WHERE workspace_id = $1 AND day >= $2::date AND day < $2::date + $3::int AND ($6::text IS NULL OR type = $6::text)
    GROUP BY 1
)
SELECT grouped, trim_scale(value), events
FROM groups
WHERE $9::text IS NULL
ORDER BY CASE $7 WHEN 'value' THEN value END NULLS LAST, CASE $7 WHEN '-value' THEN value END DESC NULLS LAST,
         CASE $7 WHEN '-group' THEN grouped END COLLATE "C" DESC NULLS LAST, grouped COLLATE "C" NULLS LAST
LIMIT $8
