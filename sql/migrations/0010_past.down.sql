-- Without what became of them, rollups of dropped partitions would be taken for faults, and their archives for somebody else's.
DO $$
BEGIN
    IF EXISTS (SELECT FROM event_archives WHERE dropped_at IS NOT NULL AND restored_at IS NULL) OR EXISTS (SELECT FROM event_partitions WHERE NOT attached) THEN
        RAISE EXCEPTION 'events were archived and dropped; bring them back first (tallygatectl events import)';
    END IF;
END
$$;
DROP FUNCTION count_rows();
DROP FUNCTION rebuild_active_days(bigint, boolean);
DROP FUNCTION rebuild_rollups(bigint, date, date, boolean);
DROP FUNCTION count_events(text);
DROP FUNCTION detach_event_partition(text);
DROP VIEW event_partitions;
DROP TABLE event_archives;
