DROP TABLE installation;
DROP INDEX events_default_occurred;
DROP FUNCTION ensure_next_event_partition(text);
DROP FUNCTION ensure_event_partition(date, text);
DROP FUNCTION settle_active_days(int);
DROP FUNCTION active_users(bigint, date, int);
DROP TABLE active_gaps, active_days_new, active_days, late_events, rollup_day;

ALTER TABLE event_ids RENAME TO event_ids_new;
CREATE TABLE event_ids (
    workspace_id bigint NOT NULL,
    id           text NOT NULL,
    receipt      uuid NOT NULL,
    occurred_at  timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO event_ids (workspace_id, id, receipt, occurred_at)
    SELECT DISTINCT ON (workspace_id, id) workspace_id, id, receipt, occurred_at FROM event_ids_new
    ORDER BY workspace_id, id, bucket;
DROP TABLE event_ids_new;
ALTER TABLE event_ids ADD CONSTRAINT event_ids_pkey PRIMARY KEY (workspace_id, id);
DROP FUNCTION keep_event_id_buckets(timestamptz);
DROP FUNCTION event_id_bucket(timestamptz);

DROP INDEX events_user;
ALTER TABLE events ALTER COLUMN id TYPE text, ALTER COLUMN type TYPE text, ALTER COLUMN user_id TYPE text;
ALTER TABLE rollup_hour ALTER COLUMN type TYPE text;
ALTER TABLE rollup_user_day ALTER COLUMN type TYPE text, ALTER COLUMN user_id TYPE text;

-- Days have no place in the older scheme of months: what lies in them strays for good.
CREATE FUNCTION ensure_event_partition(day date) RETURNS boolean LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path = public AS $$
DECLARE
    first date := date_trunc('month', day);
    next  date := first + interval '1 month';
    name  text := 'events_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('ensure_event_partition'));
    IF to_regclass(name) IS NOT NULL
        OR EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = 'events'::regclass AND starts_with(c.relname, name || '_')) THEN
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
CREATE FUNCTION ensure_event_partitions(ahead int DEFAULT 3) RETURNS int LANGUAGE sql
SET timezone = 'UTC' SET search_path = public AS $$
    SELECT count(*) FILTER (WHERE ensure_event_partition(month::date))::int
    FROM generate_series(date_trunc('month', now() AT TIME ZONE 'UTC' - interval '400 days'),
                         date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead),
                         interval '1 month') AS month
$$;
