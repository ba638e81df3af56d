-- Jobs whose runner is gone wait again, or are dead after their last attempt.
--   $1 the types that are known, $2 how many attempts each may have, $3 the runner that asks, who knows what it holds
UPDATE jobs j
SET state = CASE WHEN j.attempts >= coalesce(t.most, 1000000) THEN 'dead' ELSE 'waiting' END, runner = NULL, started_at = NULL,
    error = 'the process that ran it was lost'
FROM (SELECT id, type FROM jobs WHERE state = 'running'
        -- The far end is that of a clock that was ahead for a while.
        AND runner IN (SELECT id FROM job_runners WHERE (alive_until <= now() OR alive_until > now() + interval '1 minute') AND id <> $3::uuid)
      ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED) AS lost
LEFT JOIN unnest($1::text[], $2::bigint[]) AS t (type, most) ON t.type = lost.type
WHERE j.id = lost.id
RETURNING j.id
