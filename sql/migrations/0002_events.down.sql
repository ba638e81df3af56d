DROP FUNCTION ensure_event_partitions(int), ensure_event_partition(date);
DROP TABLE rollup_user_day, rollup_hour, event_ids, events;
DELETE FROM totals WHERE name = 'events';
