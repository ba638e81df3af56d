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
