-- All events of a partition as JSON: like an item of listing.sql, with its workspace. The partition's name is put in for that of the
-- default one.
SELECT row_to_json(item)
FROM (
    SELECT workspace_id, id, type, trim_scale(value) AS value, user_id, metadata,
           to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS timestamp,
           to_char(received_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS received_at
    FROM events_default AS events
    ORDER BY workspace_id, occurred_at, events.id
) AS item
