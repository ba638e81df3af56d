-- Jobs are done. One that was given to another runner meanwhile, or runs anew, is another matter.
--   $1 runner, $2 ids, $3 the attempts that these were
-- Neither a join with the arrays nor the index of what a runner holds: without statistics, as of a table that was empty at night, a
-- join goes through them all for each row, and that index keeps an entry of all that this runner did while somebody's old snapshot does.
-- `IS TRUE` leaves each job to the index of the ids, and the pairs to a hash.
WITH gone AS (
    DELETE FROM jobs j
    WHERE j.id = ANY ($2::bigint[]) AND (j.runner = $1::uuid) IS TRUE AND (j.state = 'running') IS TRUE
      AND ((j.id, j.attempts) IN (SELECT e.id, e.attempts FROM unnest($2::bigint[], $3::bigint[]) AS e (id, attempts))) IS TRUE
    RETURNING j.id, j.type, j.payload, j.attempts, j.progress, j.created_at, j.started_at
)
INSERT INTO jobs_done (id, type, payload, attempts, progress, created_at, started_at) SELECT * FROM gone
