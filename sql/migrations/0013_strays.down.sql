CREATE OR REPLACE FUNCTION ensure_event_partition(at date, unit text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET timezone = 'UTC' SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
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

CREATE OR REPLACE FUNCTION ensure_next_event_partition(unit text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET timezone = 'UTC' SET search_path = public, pg_temp SET lock_timeout = '100ms' AS $$
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
