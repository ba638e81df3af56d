-- A stretch of an export as JSON, oldest first; each row is like an item of listing.sql.
--   $1 workspace, $2 and $3 time and id after which it begins, $4 and $5 time and id with which it ends,
--   $6 user or NULL, $7 type or NULL, $8 texts that members of the metadata must have, as a JSON object, or NULL
-- It is read by COPY, with literals instead of parameters, so the planner sees which of them are NULL.
SELECT row_to_json(item)
FROM (
    SELECT id, type, trim_scale(value) AS value, user_id, metadata,
           replace(to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z') AS timestamp,
           replace(to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z') AS received_at
    FROM events
    WHERE workspace_id = $1 AND ($6::text IS NULL OR user_id = $6)
      AND occurred_at >= $2 AND occurred_at <= $4
      AND (occurred_at, events.id) > ($2, $3) AND (occurred_at, events.id) <= ($4, $5)
      AND ($7::text IS NULL OR type = $7)
      AND ($8::jsonb IS NULL OR NOT EXISTS (SELECT FROM jsonb_each_text($8::jsonb) AS wanted
                                            WHERE metadata ->> wanted.key IS DISTINCT FROM wanted.value))
    ORDER BY occurred_at, events.id
) AS item
