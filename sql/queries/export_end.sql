-- Where a stretch of an export ends: time in microseconds and id of its last event. No row when fewer events are
-- left than a stretch has. export_end_user.sql is the same for one user.
--   $1 workspace, $2 and $3 time and id after which it begins, $4 end of the period, $5 events of a stretch
-- The sub-select hides a number from the planner, see listing.sql.
SELECT (extract(epoch FROM occurred_at) * 1000000)::bigint, id
FROM events
WHERE workspace_id = $1
  AND occurred_at >= $2 AND occurred_at < $4 AND (occurred_at, id) > ($2, $3)
ORDER BY occurred_at, id
OFFSET (SELECT $5::bigint - 1)
LIMIT 1
