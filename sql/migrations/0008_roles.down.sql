DROP TABLE idempotency;
GRANT EXECUTE ON FUNCTION ensure_event_partition(date, text), ensure_next_event_partition(text), keep_event_id_buckets(timestamptz)
    TO PUBLIC;
ALTER FUNCTION keep_event_id_buckets(timestamptz) SECURITY INVOKER SET search_path = public;
ALTER FUNCTION ensure_next_event_partition(text) SECURITY INVOKER SET search_path = public;
ALTER FUNCTION ensure_event_partition(date, text) SECURITY INVOKER SET search_path = public;
