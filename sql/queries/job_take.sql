-- Take jobs that are due: the first ones by priority and time. One taker at a time counts what runs, as a type may have a limit.
-- Who is not known to live takes nothing, as it is by its row that a lost one is found.
--   $1 runner, $2 how many at most, $3 for each priority the time from which on to look (what was deleted before it is not passed over
--   again, while an old snapshot keeps it), $4 the types that the runner knows, $5 how many of each may run at once
WITH self AS MATERIALIZED ( -- whose row stays until this has an end
    SELECT id FROM job_runners WHERE id = $1::uuid AND alive_until > now() FOR KEY SHARE
), types AS MATERIALIZED (
    SELECT t.type, t.most, t.most - (SELECT count(*) FROM jobs r WHERE r.state = 'running' AND r.limited AND r.type = t.type) AS room
    FROM unnest($4::text[], $5::bigint[]) AS t (type, most)
    WHERE t.most < 1000000
    UNION ALL SELECT t.type, t.most, t.most FROM unnest($4::text[], $5::bigint[]) AS t (type, most) WHERE t.most >= 1000000
), due AS MATERIALIZED (
    SELECT found.*
    FROM generate_series(0, CASE WHEN EXISTS (SELECT FROM self) THEN 2 ELSE -1 END) AS p
    CROSS JOIN LATERAL (
        SELECT j.id, j.type, j.priority, j.run_at FROM jobs j
        WHERE j.state = 'waiting' AND j.priority = p AND j.run_at <= now() AND j.run_at >= ($3::timestamptz[])[p + 1]
          AND j.type IN (SELECT type FROM types WHERE room > 0)
        ORDER BY j.run_at, j.id
        LIMIT $2::bigint
        FOR UPDATE SKIP LOCKED
    ) AS found
), fitting AS (
    SELECT d.id, t.most < 1000000 AS limited, row_number() OVER (PARTITION BY d.type ORDER BY d.priority, d.run_at, d.id) AS nth, t.room
    FROM due d JOIN types t USING (type)
    ORDER BY d.priority, d.run_at, d.id
    LIMIT $2::bigint
)
UPDATE jobs j SET state = 'running', runner = $1::uuid, limited = f.limited, attempts = attempts + 1, started_at = now(), progress = NULL
FROM fitting f
WHERE j.id = f.id AND f.nth <= f.room
RETURNING j.id, j.type, j.payload, j.attempts, j.priority, (extract(epoch FROM j.run_at) * 1000000)::bigint, j.trace
