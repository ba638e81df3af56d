-- What is past: partitions of events that are archived and dropped, rollups made anew from the events, rows counted for a backup.

-- What became of partitions. Events that were dropped still count in the rollups, so these must not be made anew from what is left.
CREATE TABLE event_archives (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition   text NOT NULL,
    first       timestamptz NOT NULL, -- the first moment that it covers
    next        timestamptz NOT NULL, -- and the one after the last
    events      bigint NOT NULL,
    file        text,                 -- NULL: they were dropped without one
    bytes       bigint,
    sha256      bytea,                -- of the file
    created_at  timestamptz NOT NULL DEFAULT now(),
    dropped_at  timestamptz,          -- since when the events are not in the database; NULL: they are
    restored_at timestamptz           -- when they came back from the file
);
CREATE INDEX event_archives_sha256 ON event_archives (sha256);
CREATE INDEX event_archives_dropped ON event_archives (first) WHERE dropped_at IS NOT NULL AND restored_at IS NULL;

-- The partitions of events that have a span of their own, and those that were taken out to be archived and dropped.
CREATE VIEW event_partitions AS
    SELECT c.relname::text AS name, spans.first, spans.next,
           EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) AS attached,
           greatest(c.reltuples, 0)::bigint AS events_about, pg_total_relation_size(c.oid) AS bytes
    FROM pg_class c
    CROSS JOIN LATERAL (
        SELECT day AT TIME ZONE 'UTC' AS first, (day + CASE length(c.relname) WHEN 14 THEN interval '1 month' ELSE interval '1 day' END) AT TIME ZONE 'UTC' AS next
        FROM (SELECT to_date(substr(c.relname, 8), CASE length(c.relname) WHEN 14 THEN 'YYYY_MM' ELSE 'YYYY_MM_DD' END)::timestamp AS day) AS d
    ) AS spans
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname ~ '^events_[0-9]{4}_[0-9]{2}(_[0-9]{2})?$';

-- Take a partition out, so that nobody reads or writes it any more: what comes late for it goes to the default partition. It needs
-- everybody to let go of the events for a moment, so it is given up soon, and tried again.
CREATE FUNCTION detach_event_partition(name text) RETURNS void LANGUAGE plpgsql
SET search_path = public SET lock_timeout = '200ms' AS $$
BEGIN
    EXECUTE format('ALTER TABLE events DETACH PARTITION %I', name);
END
$$;

-- How many events a partition has.
CREATE FUNCTION count_events(partition text) RETURNS bigint LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    n bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %I', partition) INTO n;
    RETURN n;
END
$$;

-- ---- Rollups ------------------------------------------------------------------------------------

-- How many rows of a workspace's rollups, of the days from `first` up to but not including `next`, are not what its events say. With
-- `mend` they are made anew if any is. Whoever writes rollups, of any kind, writes rollup_hour as well, so its lock keeps all of them
-- away meanwhile; a call should be about some hundred thousand events at most.
CREATE FUNCTION rebuild_rollups(space bigint, first date, next date, mend boolean) RETURNS bigint LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    wrong bigint;
BEGIN
    LOCK TABLE events IN ACCESS SHARE MODE; -- no partition is taken out from here on, and if one was, its events are missed for no fault
    IF EXISTS (SELECT FROM event_archives a WHERE a.dropped_at IS NOT NULL AND a.restored_at IS NULL
               AND a.first < rebuild_rollups.next::timestamptz AND a.next > rebuild_rollups.first::timestamptz)
       OR EXISTS (SELECT FROM event_partitions p WHERE NOT p.attached
                  AND p.first < rebuild_rollups.next::timestamptz AND p.next > rebuild_rollups.first::timestamptz) THEN
        RETURN 0;
    END IF;
    IF mend THEN
        LOCK TABLE rollup_hour IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    WITH raw AS MATERIALIZED (
        SELECT date_trunc('hour', occurred_at, 'UTC') AS hour, user_id, type,
               count(*) AS events, sum(value) AS total, min(value) AS minimum, max(value) AS maximum
        FROM events
        WHERE workspace_id = space AND occurred_at >= first::timestamptz AND occurred_at < next::timestamptz
        GROUP BY 1, 2, 3
    ), hours AS (
        SELECT hour, type, sum(events), sum(total), min(minimum), max(maximum) FROM raw GROUP BY 1, 2
    ), kept_hours AS (
        SELECT hour, type, sum(events), sum(total), min(minimum), max(maximum) FROM rollup_hour
        WHERE workspace_id = space AND hour >= first::timestamptz AND hour < next::timestamptz GROUP BY 1, 2
    ), days AS (
        SELECT hour::date, type, sum(events), sum(total), min(minimum), max(maximum) FROM raw GROUP BY 1, 2
    ), kept_days AS (
        SELECT day, type, sum(events), sum(total), min(minimum), max(maximum) FROM rollup_day
        WHERE workspace_id = space AND day >= first AND day < next GROUP BY 1, 2
    ), users AS (
        SELECT hour::date, user_id, type, sum(events), sum(total) FROM raw GROUP BY 1, 2, 3
    ), kept_users AS (
        SELECT day, user_id, type, sum(events), sum(total) FROM rollup_user_day
        WHERE workspace_id = space AND day >= first AND day < next GROUP BY 1, 2, 3
    )
    SELECT (SELECT count(*) FROM (TABLE hours EXCEPT TABLE kept_hours) AS d) + (SELECT count(*) FROM (TABLE kept_hours EXCEPT TABLE hours) AS d)
         + (SELECT count(*) FROM (TABLE days EXCEPT TABLE kept_days) AS d) + (SELECT count(*) FROM (TABLE kept_days EXCEPT TABLE days) AS d)
         + (SELECT count(*) FROM (TABLE users EXCEPT TABLE kept_users) AS d) + (SELECT count(*) FROM (TABLE kept_users EXCEPT TABLE users) AS d)
    INTO wrong;
    IF wrong = 0 OR NOT mend THEN
        RETURN wrong;
    END IF;
    DELETE FROM rollup_hour WHERE workspace_id = space AND hour >= first::timestamptz AND hour < next::timestamptz;
    DELETE FROM rollup_day WHERE workspace_id = space AND day >= first AND day < next;
    DELETE FROM rollup_user_day WHERE workspace_id = space AND day >= first AND day < next;
    INSERT INTO rollup_hour (workspace_id, hour, type, shard, events, total, minimum, maximum)
        SELECT workspace_id, date_trunc('hour', occurred_at, 'UTC'), type, 0, count(*), sum(value), min(value), max(value) FROM events
        WHERE workspace_id = space AND occurred_at >= first::timestamptz AND occurred_at < next::timestamptz GROUP BY 1, 2, 3;
    INSERT INTO rollup_day (workspace_id, day, type, shard, events, total, minimum, maximum)
        SELECT workspace_id, hour::date, type, 0, sum(events), sum(total), min(minimum), max(maximum) FROM rollup_hour
        WHERE workspace_id = space AND hour >= first::timestamptz AND hour < next::timestamptz GROUP BY 1, 2, 3;
    INSERT INTO rollup_user_day (workspace_id, day, user_id, type, shard, events, total)
        SELECT workspace_id, occurred_at::date, user_id, type, 0, count(*), sum(value) FROM events
        WHERE workspace_id = space AND occurred_at >= first::timestamptz AND occurred_at < next::timestamptz GROUP BY 1, 2, 3, 4;
    -- Answers about finished days that are kept somewhere are good no longer.
    INSERT INTO late_events AS l (workspace_id, shard, events) VALUES (space, 0, 1)
        ON CONFLICT (workspace_id, shard) DO UPDATE SET events = l.events + 1;
    RETURN wrong;
END
$$;

-- The same for a workspace's active days and the gaps between them, which follow from rollup_user_day.
CREATE FUNCTION rebuild_active_days(space bigint, mend boolean) RETURNS bigint LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    wrong bigint;
BEGIN
    IF mend THEN
        PERFORM pg_advisory_xact_lock(hashtext('settle_active_days'));
        LOCK TABLE rollup_hour IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    WITH truth AS (
        SELECT DISTINCT user_id, day FROM rollup_user_day WHERE workspace_id = space
    ), kept AS (
        SELECT user_id, day FROM active_days WHERE workspace_id = space
        UNION SELECT user_id, day FROM active_days_new WHERE workspace_id = space
    ), gaps AS (
        SELECT day, previous_day, count(*) AS users
        FROM (SELECT day, coalesce(lag(day) OVER (PARTITION BY user_id ORDER BY day), '-infinity') AS previous_day
              FROM active_days WHERE workspace_id = space) AS pairs
        GROUP BY 1, 2
    ), kept_gaps AS (
        SELECT day, previous_day, users FROM active_gaps WHERE workspace_id = space AND users <> 0
    )
    SELECT (SELECT count(*) FROM (TABLE truth EXCEPT TABLE kept) AS d) + (SELECT count(*) FROM (TABLE kept EXCEPT TABLE truth) AS d)
         + (SELECT count(*) FROM (TABLE gaps EXCEPT TABLE kept_gaps) AS d) + (SELECT count(*) FROM (TABLE kept_gaps EXCEPT TABLE gaps) AS d)
    INTO wrong;
    IF wrong = 0 OR NOT mend THEN
        RETURN wrong;
    END IF;
    DELETE FROM active_days_new WHERE workspace_id = space;
    DELETE FROM active_days WHERE workspace_id = space;
    DELETE FROM active_gaps WHERE workspace_id = space;
    INSERT INTO active_days SELECT DISTINCT workspace_id, user_id, day FROM rollup_user_day WHERE workspace_id = space;
    INSERT INTO active_gaps
        SELECT workspace_id, day, previous_day, count(*)
        FROM (SELECT workspace_id, day, coalesce(lag(day) OVER (PARTITION BY user_id ORDER BY day), '-infinity') AS previous_day
              FROM active_days WHERE workspace_id = space) AS pairs
        GROUP BY 1, 2, 3;
    INSERT INTO late_events AS l (workspace_id, shard, events) VALUES (space, 0, 1)
        ON CONFLICT (workspace_id, shard) DO UPDATE SET events = l.events + 1;
    RETURN wrong;
END
$$;

-- How many rows each table has: what a backup notes, and a restored database is compared with.
CREATE FUNCTION count_rows() RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS $$
DECLARE
    name   text;
    n      bigint;
    counts jsonb := '{}';
BEGIN
    FOR name IN SELECT c.relname FROM pg_class c
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM %I', name) INTO n;
        counts := counts || jsonb_build_object(name, n);
    END LOOP;
    RETURN counts;
END
$$;
