-- The partitions of events, the oldest first, and the file that each was last written into.
SELECT p.name,
       to_char(p.first AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), to_char(p.next AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       p.attached, p.events_about, p.bytes,
       (SELECT a.file FROM event_archives a WHERE a.partition = p.name AND a.dropped_at IS NULL ORDER BY a.id DESC LIMIT 1)
FROM event_partitions p
ORDER BY p.first
