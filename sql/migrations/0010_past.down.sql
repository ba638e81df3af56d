DROP FUNCTION count_rows();
DROP FUNCTION rebuild_active_days(bigint, boolean);
DROP FUNCTION rebuild_rollups(bigint, date, date, boolean);
DROP FUNCTION count_events(text);
DROP FUNCTION detach_event_partition(text);
DROP VIEW event_partitions;
DROP TABLE event_archives;
