-- Jobs are done. One that was given to another runner meanwhile is that one's.
--   $1 runner, $2 ids
WITH gone AS (
    DELETE FROM jobs WHERE id = ANY ($2::bigint[]) AND runner = $1::uuid AND state = 'running'
    RETURNING id, type, payload, attempts, progress, created_at, started_at
)
INSERT INTO jobs_done (id, type, payload, attempts, progress, created_at, started_at) SELECT * FROM gone
