-- Whoever reads while strays move into their partition must find them. A statement is planned with the partitions of the moment in which it
-- locked the table, waits for the lock of events_default, which attaching takes, and then reads as of later: without the new partition, and
-- with the old one empty. So where there is something to move, the table itself is locked before, and readers wait ahead of their planning.
-- That takes some 5 µs an event. Where there are more than `tallygate.strays_max`, they stay where they are, which is as right, until somebody
-- who has time lets them move (tallygatectl partition keep --strays).
CREATE OR REPLACE FUNCTION ensure_event_partition(at date, unit text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET timezone = 'UTC' SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    month  text := 'events_' || to_char(at, 'YYYY_MM');
    name   text := month;
    first  date := date_trunc('month', at);
    next   date := first + interval '1 month';
    strays bigint;
    most   bigint := coalesce(nullif(current_setting('tallygate.strays_max', true), ''), '100000')::bigint;
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
    SELECT count(*) INTO strays
    FROM (SELECT FROM events_default WHERE occurred_at >= first::timestamptz AND occurred_at < next::timestamptz LIMIT most + 1) AS s;
    IF strays > most THEN
        RETURN false;
    ELSIF strays > 0 THEN
        LOCK TABLE events IN ACCESS EXCLUSIVE MODE;
    END IF;
    -- Nobody may stray into the range between the moving and the attaching.
    LOCK TABLE events_default IN SHARE ROW EXCLUSIVE MODE;
    IF strays = 0 AND EXISTS (SELECT FROM events_default WHERE occurred_at >= first::timestamptz AND occurred_at < next::timestamptz) THEN
        RAISE lock_not_available USING MESSAGE = 'an event strayed just now';
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('WITH strays AS (DELETE FROM events_default WHERE occurred_at >= %L AND occurred_at < %L RETURNING *)'
                   ' INSERT INTO %I SELECT * FROM strays', first::timestamptz, next::timestamptz, name);
    EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   name, first::timestamptz, next::timestamptz);
    RETURN true;
END
$$;

-- As before, but those that are too many are in nobody's way.
CREATE OR REPLACE FUNCTION ensure_next_event_partition(unit text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET timezone = 'UTC' SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    at    date;
    after timestamptz := '-infinity';
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
    LOOP
        SELECT (min(occurred_at) AT TIME ZONE 'UTC')::date INTO at FROM events_default WHERE occurred_at >= after;
        IF at IS NULL THEN
            RETURN false;
        ELSIF ensure_event_partition(at, unit) THEN
            RETURN true;
        END IF;
        after := CASE unit WHEN 'day' THEN at + 1 ELSE date_trunc('month', at) + interval '1 month' END;
    END LOOP;
END
$$;
