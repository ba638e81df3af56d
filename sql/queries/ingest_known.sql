-- Which of these stand among the events already, from before the duplicate window: place in the arrays (from 1).
SELECT b.n
FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) WITH ORDINALITY AS b (workspace_id, id, occurred_at, n)
JOIN LATERAL (
    SELECT FROM events e
    WHERE e.workspace_id = b.workspace_id AND e.occurred_at = b.occurred_at AND e.id = b.id
    LIMIT 1
) AS standing ON true
