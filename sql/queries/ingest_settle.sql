-- What is known of ids whose fate the batch could not see: another transaction recorded them while
-- it ran. Answers in any order: place in the arrays (from 1), whether ours, time of the event.
SELECT b.n, e.receipt = b.receipt, (extract(epoch FROM e.occurred_at) * 1000000)::bigint
FROM unnest($1::bigint[], $2::text[], $3::uuid[]) WITH ORDINALITY AS b (workspace_id, id, receipt, n)
JOIN event_ids e ON e.workspace_id = b.workspace_id AND e.id = b.id
