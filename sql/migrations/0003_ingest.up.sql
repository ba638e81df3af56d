-- Faster, bounded ingest and reading: a duplicate window that is dropped by partition, day totals,
-- exact numbers of distinct users over any days, marks of late events, and partitions of events by
-- month or day.

-- Keys are compared byte by byte: several times faster than by a language's rules, and no index
-- breaks when an operating system changes those.
ALTER TABLE events ALTER COLUMN id TYPE text COLLATE "C",
                   ALTER COLUMN type TYPE text COLLATE "C",
                   ALTER COLUMN user_id TYPE text COLLATE "C";
ALTER TABLE rollup_hour ALTER COLUMN type TYPE text COLLATE "C";
ALTER TABLE rollup_user_day ALTER COLUMN type TYPE text COLLATE "C",
                            ALTER COLUMN user_id TYPE text COLLATE "C";

-- One user's events, newest first.
CREATE INDEX events_user ON events (workspace_id, user_id, occurred_at);

-- ---- The duplicate window -------------------------------------------------------------------------
-- The ids that were seen, for 30 to 60 days: partitions are buckets of 30 days by the database's
-- clock, and an id is looked for in the current bucket and the one before. Near a boundary two
-- transactions may disagree on which is the current one, so for an hour on either side ids are
-- written to both: they meet in at least one unique key. See queries/ingest.sql.

-- Stable, as extract() is: only so the planner puts its body in place of the call.
CREATE FUNCTION event_id_bucket(at timestamptz) RETURNS int LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT floor(extract(epoch FROM at) / 2592000)::int $$;

ALTER TABLE event_ids RENAME TO event_ids_old;
ALTER INDEX event_ids_pkey RENAME TO event_ids_old_pkey;

CREATE TABLE event_ids (
    workspace_id bigint NOT NULL,
    id           text COLLATE "C" NOT NULL,
    bucket       int NOT NULL,
    receipt      uuid NOT NULL, -- made for each attempt: tells a committer its own row after a lost COMMIT
    occurred_at  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, id, bucket)
) PARTITION BY LIST (bucket);

-- Where ids go when nobody made their bucket in time: nothing is lost and nothing counts twice.
CREATE TABLE event_ids_default PARTITION OF event_ids DEFAULT;

-- Make the buckets from the one before to the next, and drop those that nobody looks into any more.
-- Any process may call it. Returns how many were made or dropped.
CREATE FUNCTION keep_event_id_buckets(at timestamptz DEFAULT now()) RETURNS int LANGUAGE plpgsql
SET search_path = public AS $$
DECLARE
    oldest  int := event_id_bucket(at - interval '1 hour') - 1; -- the lowest that is read
    name    text;
    old     record;
    changed int := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('keep_event_id_buckets'));
    -- Dropping locks the parent, making one also the default partition: in this order, as those who write do.
    FOR old IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'event_ids'::regclass AND c.relname ~ '^event_ids_[0-9]+$'
                 AND substr(c.relname, 11)::int < oldest LOOP
        EXECUTE format('DROP TABLE %I', old.relname);
        changed := changed + 1;
    END LOOP;
    FOR number IN oldest .. event_id_bucket(at) + 1 LOOP
        name := 'event_ids_' || number;
        IF to_regclass(name) IS NULL AND NOT EXISTS (SELECT FROM event_ids_default d WHERE d.bucket = number) THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF event_ids FOR VALUES IN (%s)', name, number);
            changed := changed + 1;
        END IF;
    END LOOP;
    DELETE FROM event_ids_default d WHERE d.bucket < oldest;
    RETURN changed;
END
$$;

SELECT keep_event_id_buckets();
INSERT INTO event_ids (workspace_id, id, bucket, receipt, occurred_at)
    SELECT workspace_id, id, event_id_bucket(received_at), receipt, occurred_at FROM event_ids_old
    WHERE event_id_bucket(received_at) >= event_id_bucket(now() - interval '1 hour') - 1;
DROP TABLE event_ids_old;

-- ---- Days ---------------------------------------------------------------------------------------
-- Periods are whole days, so their totals come from here: a few rows a day, however busy it was.

CREATE TABLE rollup_day (
    workspace_id bigint NOT NULL,
    day          date NOT NULL,
    type         text COLLATE "C" NOT NULL,
    shard        int NOT NULL,
    events       bigint NOT NULL,
    total        numeric NOT NULL,
    minimum      numeric NOT NULL,
    maximum      numeric NOT NULL,
    PRIMARY KEY (workspace_id, day, type, shard)
) WITH (fillfactor = 70);

INSERT INTO rollup_day
    SELECT workspace_id, (hour AT TIME ZONE 'UTC')::date, type, shard, sum(events), sum(total), min(minimum), max(maximum)
    FROM rollup_hour GROUP BY 1, 2, 3, 4;

-- How many events came for a day after it was over, in shards by committer: an answer about finished
-- days that is kept somewhere is good for as long as the sum stands.
CREATE TABLE late_events (
    workspace_id bigint NOT NULL,
    shard        int NOT NULL,
    events       bigint NOT NULL,
    PRIMARY KEY (workspace_id, shard)
) WITH (fillfactor = 50);

-- ---- Distinct users -----------------------------------------------------------------------------
-- The users of some days are not the sum of each day's. But each of them has exactly one first day in
-- any span [a, b]: the one whose previous active day lies before a. So we keep, for each day, how
-- many of its users were last active on which day before:
--     users in [a, b] = sum of users over rows with day in [a, b] and previous_day < a
-- That is exact for any span and reads some rows a day, however many users there are.
--
-- A day of a user is born with their first event of that day. Events may come late and in any order,
-- and births in concurrent transactions do not see each other, so committers only note them in
-- active_days_new, and settle_active_days(), which runs one at a time, takes them over. Readers ask
-- active_users(), which adds those that are not settled yet.

CREATE TABLE active_days (
    workspace_id bigint NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    day          date NOT NULL,
    PRIMARY KEY (workspace_id, user_id, day)
);
CREATE TABLE active_days_new (LIKE active_days INCLUDING ALL)
    WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE TABLE active_gaps (
    workspace_id bigint NOT NULL,
    day          date NOT NULL,
    previous_day date NOT NULL, -- -infinity: their first day ever
    users        bigint NOT NULL,
    PRIMARY KEY (workspace_id, day, previous_day)
) WITH (fillfactor = 70);

INSERT INTO active_days SELECT DISTINCT workspace_id, user_id, day FROM rollup_user_day;
INSERT INTO active_gaps
    SELECT workspace_id, day, previous_day, count(*)
    FROM (SELECT workspace_id, day,
                 coalesce(lag(day) OVER (PARTITION BY workspace_id, user_id ORDER BY day), '-infinity') AS previous_day
          FROM active_days) AS pairs
    GROUP BY 1, 2, 3;

-- How many users of a workspace had any event on the `days` days from `first` on: what is settled, and
-- those who are only among the unsettled.
CREATE FUNCTION active_users(workspace bigint, first date, days int) RETURNS bigint LANGUAGE sql STABLE
SET search_path = public AS $$
    SELECT (SELECT coalesce(sum(users), 0) FROM active_gaps
            WHERE workspace_id = workspace AND day >= first AND day < first + days AND previous_day < first)::bigint
         + (SELECT count(DISTINCT n.user_id) FROM active_days_new n
            WHERE n.workspace_id = workspace AND n.day >= first AND n.day < first + days
              AND (SELECT a.day FROM active_days a -- a lookup for each, whatever the planner believes of their number
                   WHERE a.workspace_id = workspace AND a.user_id = n.user_id AND a.day >= first AND a.day < first + days
                   LIMIT 1) IS NULL)
$$;

-- Take over up to `most` births; returns how many were looked at. A user has one birth in a round, so
-- that each finds its neighbours settled. Whoever comes while another is at it gets 0 at once.
CREATE FUNCTION settle_active_days(most int) RETURNS int LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public AS $$
DECLARE
    taken int;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('settle_active_days')) THEN
        RETURN 0;
    END IF;
    WITH chosen AS MATERIALIZED (
        SELECT DISTINCT ON (workspace_id, user_id) workspace_id, user_id, day
        FROM (SELECT * FROM active_days_new LIMIT most) AS waiting
        ORDER BY workspace_id, user_id, day
    ), gone AS (
        DELETE FROM active_days_new n USING chosen c
        WHERE n.workspace_id = c.workspace_id AND n.user_id = c.user_id AND n.day = c.day
        RETURNING n.workspace_id, n.user_id, n.day
    ), born AS (
        INSERT INTO active_days SELECT workspace_id, user_id, day FROM gone
        ON CONFLICT DO NOTHING
        RETURNING workspace_id, user_id, day
    ), placed AS MATERIALIZED ( -- this statement does not see its own births
        SELECT b.workspace_id, b.day,
               coalesce((SELECT max(a.day) FROM active_days a
                         WHERE a.workspace_id = b.workspace_id AND a.user_id = b.user_id AND a.day < b.day),
                        '-infinity') AS before,
               (SELECT min(a.day) FROM active_days a
                WHERE a.workspace_id = b.workspace_id AND a.user_id = b.user_id AND a.day > b.day) AS after
        FROM born b
    ), change AS (
        SELECT workspace_id, day, before AS previous_day, 1 AS users FROM placed
        UNION ALL SELECT workspace_id, after, before, -1 FROM placed WHERE after IS NOT NULL
        UNION ALL SELECT workspace_id, after, day, 1 FROM placed WHERE after IS NOT NULL
    ), counted AS (
        INSERT INTO active_gaps AS g (workspace_id, day, previous_day, users)
        SELECT workspace_id, day, previous_day, sum(users) FROM change
        GROUP BY 1, 2, 3 HAVING sum(users) <> 0
        ON CONFLICT (workspace_id, day, previous_day) DO UPDATE SET users = g.users + excluded.users
    )
    SELECT count(*) INTO taken FROM gone;
    RETURN taken;
END
$$;

-- ---- Partitions of events -------------------------------------------------------------------------

DROP FUNCTION ensure_event_partitions(int);
DROP FUNCTION ensure_event_partition(date);

-- Months that hold nothing go, so that the setting events_partition decides anew. What is needed is made
-- when a pool starts, and until then the default partition takes everything.
DO $$
DECLARE
    part   record;
    filled boolean;
BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}$' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', part.relname) INTO filled;
        IF NOT filled THEN
            EXECUTE format('DROP TABLE %I', part.relname);
        END IF;
    END LOOP;
END
$$;

-- Make the partition for the `unit` ('month' or 'day') that `at` lies in, unless one covers it. Rows
-- that strayed into the default partition move along. A month that was begun in days goes on in days.
-- Any process may call this; the advisory lock lets one at a time. A partition is attached under a lock that waits for each
-- reader of the default partition, and everybody else would wait behind it, while an export may read there for a
-- minute. So it is given up soon, and tried again later.
CREATE FUNCTION ensure_event_partition(at date, unit text) RETURNS boolean LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public SET lock_timeout = '100ms' AS $$
DECLARE
    month text := 'events_' || to_char(at, 'YYYY_MM');
    name  text := month;
    first date := date_trunc('month', at);
    next  date := first + interval '1 month';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ensure_event_partition'));
    IF to_regclass(month) IS NOT NULL THEN
        RETURN false;
    END IF;
    IF unit = 'day' OR EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                               WHERE i.inhparent = 'events'::regclass AND starts_with(c.relname, month || '_')) THEN
        name := 'events_' || to_char(at, 'YYYY_MM_DD');
        first := at;
        next := at + 1;
        IF to_regclass(name) IS NOT NULL THEN
            RETURN false;
        END IF;
    END IF;
    -- Nobody may stray into the range between the moving and the attaching.
    LOCK TABLE events_default IN SHARE ROW EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('WITH strays AS (DELETE FROM events_default WHERE occurred_at >= %L AND occurred_at < %L RETURNING *)'
                   ' INSERT INTO %I SELECT * FROM strays', first::timestamptz, next::timestamptz, name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first::timestamptz, next::timestamptz);
    RETURN true;
END
$$;

CREATE INDEX events_default_occurred ON events_default (occurred_at);

-- Make one partition that is missing: of what is to come (`unit` month: three months ahead; day: fourteen days), or of the
-- oldest that strayed into the default partition. False when none is. Each is a transaction of its own, so that its
-- locks are short, however many there are.
CREATE FUNCTION ensure_next_event_partition(unit text) RETURNS boolean LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public SET lock_timeout = '100ms' AS $$
DECLARE
    at date;
BEGIN
    -- Before the look at the default partition, whose lock would be in the way of another who makes one.
    IF NOT pg_try_advisory_xact_lock(hashtext('ensure_event_partition')) THEN
        RETURN false;
    END IF;
    FOR at IN
        SELECT ahead::date
        FROM generate_series(date_trunc(unit, now()::timestamp),
                             CASE unit WHEN 'day' THEN current_date + 14 ELSE date_trunc('month', now()) + interval '3 months' END,
                             CASE unit WHEN 'day' THEN interval '1 day' ELSE interval '1 month' END) AS ahead
    LOOP
        IF ensure_event_partition(at, unit) THEN
            RETURN true;
        END IF;
    END LOOP;
    SELECT (min(occurred_at) AT TIME ZONE 'UTC')::date INTO at FROM events_default;
    RETURN at IS NOT NULL AND ensure_event_partition(at, unit);
END
$$;

-- Which installation this is: what is kept outside of the database, in a Redis that several may share, says so.
CREATE TABLE installation (
    id  uuid NOT NULL DEFAULT gen_random_uuid(),
    one boolean PRIMARY KEY DEFAULT true CHECK (one)
);
INSERT INTO installation DEFAULT VALUES;
