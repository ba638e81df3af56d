-- A stretch of an export as the columns of a table, oldest first. Parameters as in export_ndjson.sql.
-- A spreadsheet takes a cell that begins with one of these signs, some also in their full width, for a formula, which could
-- reach out of the table; with an apostrophe before it, it stays a text. One that begins with an apostrophe gets another, so that an
-- import knows what to take away. Types begin with a letter, metadata with a brace, and
-- a number may begin with a minus.
SELECT CASE WHEN strpos(E'=+-@\'\t\r\n＝＋－＠﹦﹢﹣﹫', left(id, 1)) > 0 THEN '''' || id ELSE id END AS id,
       type, trim_scale(value) AS value,
       CASE WHEN strpos(E'=+-@\'\t\r\n＝＋－＠﹦﹢﹣﹫', left(user_id, 1)) > 0 THEN '''' || user_id ELSE user_id END AS user_id,
       metadata,
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
