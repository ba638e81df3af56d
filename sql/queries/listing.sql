-- A page of a workspace's events, newest first. listing_user.sql is the same for one user.
--   $1 workspace, $2 first time, $3 the time after the last, $4 and $5 time and id to go on after,
--   $6 type or NULL, $7 texts that members of the metadata must have, as a JSON object, or NULL,
--   $8 how many rows may be looked at, $9 how many may be returned
-- Columns: the event as JSON, its time in microseconds, its id, whether it is the last that may be looked at;
-- such a row comes even when it does not match, with NULL instead of JSON.
--
-- The sub-select of the inner LIMIT hides the number from the planner. Knowing it, and guessing low how many rows
-- the bounds let through, it would fetch and sort all of them instead of reading an index from its end.
SELECT CASE WHEN matches THEN row_to_json(item) END,
       (extract(epoch FROM page.occurred_at) * 1000000)::bigint, page.id, page.number = $8
FROM (
    SELECT *, row_number() OVER (ORDER BY occurred_at DESC, id DESC) AS number,
           ($6::text IS NULL OR type = $6)
           AND ($7::jsonb IS NULL OR NOT EXISTS (SELECT FROM jsonb_each_text($7::jsonb) AS wanted
                                                 WHERE metadata ->> wanted.key IS DISTINCT FROM wanted.value)) AS matches
    FROM (
        SELECT *
        FROM events
        WHERE workspace_id = $1
          AND occurred_at >= $2 AND occurred_at < $3 AND (occurred_at, id) < ($4, $5)
        ORDER BY occurred_at DESC, id DESC
        LIMIT (SELECT $8::bigint)
    ) AS looked_at
) AS page, LATERAL (
    SELECT page.id, page.type, trim_scale(page.value) AS value, page.user_id, page.metadata,
           replace(to_char(page.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
               AS timestamp,
           replace(to_char(page.received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')
               AS received_at
) AS item
WHERE matches OR number = $8
ORDER BY page.occurred_at DESC, page.id DESC
LIMIT $9
