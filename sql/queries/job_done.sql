-- Jobs are done. One that was given to another runner meanwhile, or runs anew, is another matter.
--   $1 runner, $2 ids, $3 the attempts that these were
WITH gone AS (
    DELETE FROM jobs j USING unnest($2::bigint[], $3::bigint[]) AS e (id, attempts)
    WHERE j.id = e.id AND j.attempts = e.attempts AND j.runner = $1::uuid AND j.state = 'running'
    RETURNING j.id, j.type, j.payload, j.attempts, j.progress, j.created_at, j.started_at
)
INSERT INTO jobs_done (id, type, payload, attempts, progress, created_at, started_at) SELECT * FROM gone
