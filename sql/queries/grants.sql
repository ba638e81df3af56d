-- What the role of the pools may do, when it is not the owner of the schema: read and write rows, but neither change the schema nor
-- what was written into the audit log. Runs as the owner, after each migration; tallygate.application_role names the other.
DO $$
DECLARE
    application text := current_setting('tallygate.application_role');
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', application);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %I', application);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON audit_log FROM %I', application);
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON schema_migrations, installation, event_archives FROM %I', application);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ensure_event_partition(date, text), ensure_next_event_partition(text),'
                   ' keep_event_id_buckets(timestamptz), keep_days(text, int) TO %I', application);
END
$$
