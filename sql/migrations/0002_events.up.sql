-- Usage events, their duplicate window and the rollups that answer every question but those for
-- raw rows. Each table has workspace_id first in its key.

CREATE TABLE events (
    workspace_id bigint NOT NULL,
    occurred_at  timestamptz NOT NULL,
    id           text NOT NULL,
    type         text NOT NULL,
    value        numeric NOT NULL,
    user_id      text NOT NULL,
    metadata     jsonb,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, occurred_at, id)
) PARTITION BY RANGE (occurred_at);

CREATE TABLE events_default PARTITION OF events DEFAULT;

-- The ids that were seen. A partitioned table cannot hold a unique key without its partition key,
-- so ids have a table of their own, written in the same statement as their events. `receipt` is
-- made for each attempt to record an event: by it a committer that lost its connection during
-- COMMIT tells its own row from somebody's earlier one.
CREATE TABLE event_ids (
    workspace_id bigint NOT NULL,
    id           text NOT NULL,
    receipt      uuid NOT NULL,
    occurred_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, id)
);

CREATE TABLE rollup_hour (
    workspace_id bigint NOT NULL,
    hour         timestamptz NOT NULL,
    type         text NOT NULL,
    shard        int NOT NULL,
    events       bigint NOT NULL,
    total        numeric NOT NULL,
    minimum      numeric NOT NULL,
    maximum      numeric NOT NULL,
    PRIMARY KEY (workspace_id, hour, type, shard)
) WITH (fillfactor = 70);

CREATE TABLE rollup_user_day (
    workspace_id bigint NOT NULL,
    day          date NOT NULL,
    user_id      text NOT NULL,
    type         text NOT NULL,
    shard        int NOT NULL,
    events       bigint NOT NULL,
    total        numeric NOT NULL,
    PRIMARY KEY (workspace_id, day, user_id, type, shard)
) WITH (fillfactor = 70);
CREATE INDEX rollup_user_day_user ON rollup_user_day (workspace_id, user_id, day);

-- Make the partition of the month that `day` lies in, unless it is there. Rows of that month that
-- strayed into the default partition move along. Any process may call this, with any time zone; the
-- advisory lock lets one at a time.
CREATE FUNCTION ensure_event_partition(day date) RETURNS boolean LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public AS $$
DECLARE
    first date := date_trunc('month', day);
    next  date := first + interval '1 month';
    name  text := 'events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_event_partition'));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('WITH strays AS (DELETE FROM events_default WHERE occurred_at >= %L AND occurred_at < %L RETURNING *)'
                   ' INSERT INTO %I SELECT * FROM strays', first::timestamptz, next::timestamptz, name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first::timestamptz, next::timestamptz);
    RETURN true;
END
$$;

-- Partitions for everything that may be recorded now: events are taken from 400 days back, and
-- `ahead` months are made before they come. Returns how many were new.
CREATE FUNCTION ensure_event_partitions(ahead int DEFAULT 3) RETURNS int LANGUAGE sql
SET timezone = 'UTC' SET search_path = public AS $$
    SELECT count(*) FILTER (WHERE ensure_event_partition(month::date))::int
    FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC' - interval '400 days'),
                         date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead),
                         interval '1 month') AS month
$$;

SELECT ensure_event_partitions();
