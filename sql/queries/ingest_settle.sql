-- What is known of ids whose rows the batch could not see: another transaction recorded them while it ran,
-- or they stand twice in it. Answers in any order: place in the arrays (from 1), whether ours, time of the event.
SELECT b.n, standing.receipt = b.receipt, (extract(epoch FROM standing.occurred_at) * 1000000)::bigint
FROM unnest($1::bigint[], $2::text[], $3::uuid[]) WITH ORDINALITY AS b (workspace_id, id, receipt, n),
LATERAL (
    SELECT e.receipt, e.occurred_at FROM event_ids e
    WHERE e.workspace_id = b.workspace_id AND e.id = b.id
      AND e.bucket >= event_id_bucket(now() - interval '1 hour') - 1
    ORDER BY e.bucket DESC
    LIMIT 1
) AS standing
