-- The pools need not own the schema. What changes it at run time are functions of the owner's; tallygatectl migrate grants the rest
-- (sql/queries/grants.sql).
-- Temporary tables are looked for last: whoever calls could make one with the name of ours.
ALTER FUNCTION ensure_event_partition(date, text) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION ensure_next_event_partition(text) SECURITY DEFINER SET search_path = public, pg_temp;
ALTER FUNCTION keep_event_id_buckets(timestamptz) SECURITY DEFINER SET search_path = public, pg_temp;
REVOKE EXECUTE ON FUNCTION ensure_event_partition(date, text), ensure_next_event_partition(text), keep_event_id_buckets(timestamptz)
    FROM PUBLIC;

-- Answers of requests that carried an Idempotency-Key, for a day. `owner` is who asked; `answer` is sealed, as it may hold a secret
-- that was shown once.
CREATE TABLE idempotency (
    owner      text NOT NULL,
    key_hash   bytea NOT NULL,
    body_hash  bytea NOT NULL,
    status     int NOT NULL,
    answer     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, key_hash)
);
CREATE INDEX idempotency_created ON idempotency (created_at);
