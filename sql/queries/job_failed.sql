-- Jobs failed, or are given back: they wait for another attempt, or are dead.
--   $1 runner, $2 ids, $3 what went wrong (NULL: given back, and the attempt does not count), $4 in how many milliseconds to try again; below
--   zero: never, $5 the attempts that these were
UPDATE jobs j
SET state = CASE WHEN f.delay_ms < 0 THEN 'dead' ELSE 'waiting' END, runner = NULL, started_at = NULL,
    attempts = j.attempts - (f.error IS NULL)::int, error = coalesce(f.error, j.error),
    run_at = CASE WHEN f.delay_ms > 0 THEN now() + f.delay_ms * interval '1 ms' ELSE j.run_at END
FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) AS f (id, error, delay_ms, attempts)
WHERE j.id = f.id AND j.attempts = f.attempts AND j.runner = $1::uuid AND j.state = 'running'
