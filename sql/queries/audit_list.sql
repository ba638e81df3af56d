-- The audit log, the latest first.
--   $1 before this entry, 0: from the latest on, $2 how many, $3 account that acted or NULL, $4 action or NULL, $5 subject or NULL,
--   $6 from when on or NULL, $7 until when or NULL
SELECT id, (extract(epoch FROM at) * 1000000)::bigint, actor_id, actor_grant, action, subject, host(address), request_id, detail
FROM audit_log
WHERE ($1::bigint = 0 OR id < $1::bigint) AND ($3::bigint IS NULL OR actor_id = $3::bigint)
  AND ($4::text IS NULL OR action = $4) AND ($5::text IS NULL OR subject = $5)
  AND ($6::timestamptz IS NULL OR at >= $6::timestamptz) AND ($7::timestamptz IS NULL OR at < $7::timestamptz)
ORDER BY id DESC LIMIT $2::bigint
