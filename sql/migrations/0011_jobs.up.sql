-- Background work: jobs that wait or run, those that were done, who runs them, and when some are due.

-- A job runs at least once. It is deleted when it is done, so this table holds what is not, however much was done; what failed too often
-- stays as dead until somebody looks. Much is written, and nothing lives long: the table is vacuumed early.
CREATE TABLE jobs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type       text NOT NULL,
    payload    jsonb NOT NULL DEFAULT '{}',
    priority   smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2), -- 0 comes first
    run_at     timestamptz NOT NULL DEFAULT now(), -- not before
    unique_key text, -- of those of its type that wait or run, one may have it
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'dead')),
    attempts   int NOT NULL DEFAULT 0, -- that began
    runner     uuid,
    limited    boolean NOT NULL DEFAULT false, -- it runs, and only so many of its type may
    started_at timestamptz,
    progress   jsonb,
    error      text, -- of the last attempt
    trace      text, -- the traceparent of the request that wants it
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX jobs_waiting ON jobs (priority, run_at, id) WHERE state = 'waiting';
CREATE INDEX jobs_running ON jobs (runner) WHERE state = 'running';
CREATE INDEX jobs_limited ON jobs (type) WHERE state = 'running' AND limited; -- apart from the many that are not
CREATE INDEX jobs_dead ON jobs (id) WHERE state = 'dead';
CREATE UNIQUE INDEX jobs_unique ON jobs (type, unique_key) WHERE unique_key IS NOT NULL AND state <> 'dead';

CREATE TABLE jobs_done (
    id          bigint NOT NULL,
    type        text NOT NULL,
    payload     jsonb NOT NULL,
    attempts    int NOT NULL,
    progress    jsonb,
    created_at  timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (finished_at);
CREATE INDEX jobs_done_id ON jobs_done (id);
CREATE TABLE jobs_done_default PARTITION OF jobs_done DEFAULT;

-- Tables that grow by what was done are partitioned by days, and lose whole days. This makes the days of one until tomorrow, and drops those
-- before the last `keep`. Returns how many were made or dropped.
CREATE FUNCTION keep_days(parent text, keep int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET timezone = 'UTC' SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    spare   text := parent || '_default';
    moment  text; -- the column that it is partitioned by
    name    text;
    begun   boolean;
    changed int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('keep_days'));
    SELECT a.attname INTO moment
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
    WHERE c.relname = parent AND c.relnamespace = 'public'::regnamespace AND p.partdefid = to_regclass(quote_ident(spare));
    IF moment IS NULL OR parent = 'events' THEN
        RAISE EXCEPTION '% is not kept by days', parent;
    END IF;
    FOR name IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = parent::regclass AND c.relname ~ ('^' || parent || '_[0-9]{8}$')
                  AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - keep LOOP
        EXECUTE format('DROP TABLE %I', name);
        changed := changed + 1;
    END LOOP;
    EXECUTE format('DELETE FROM %I WHERE %I < %L', spare, moment, current_date - keep);
    FOR day IN 0 .. 1 LOOP
        name := parent || '_' || to_char(current_date + day, 'YYYYMMDD');
        -- A day that was begun in the default partition stays there.
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I >= %L AND %2$I < %L)', spare, moment, current_date + day, current_date + day + 1)
        INTO begun;
        IF to_regclass(name) IS NULL AND NOT begun THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent,
                           (current_date + day)::timestamptz, (current_date + day + 1)::timestamptz);
            changed := changed + 1;
        END IF;
    END LOOP;
    RETURN changed;
END
$$;
REVOKE EXECUTE ON FUNCTION keep_days(text, int) FROM PUBLIC;
SELECT keep_days('jobs_done', 7);

-- The processes that run jobs. One that does not say in time that it lives is taken for dead, and its jobs run elsewhere; the row stays
-- for as long as it holds any.
CREATE TABLE job_runners (
    id          uuid PRIMARY KEY,
    host        text NOT NULL,
    pid         int NOT NULL,
    threads     int NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    alive_until timestamptz NOT NULL
);

-- When jobs are due by the calendar. `cron` has five fields (minute, hour, day of month, month, day of week), read in `timezone`.
CREATE TABLE schedules (
    name        text PRIMARY KEY,
    cron        text NOT NULL,
    timezone    text NOT NULL DEFAULT 'UTC',
    type        text NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    next_at     timestamptz,
    last_at     timestamptz, -- that it was due and a job was made
    last_job_id bigint
);
