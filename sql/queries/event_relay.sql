-- Carry events on: from the outbox to those that were carried on, in the order of their numbers, and a delivery for each webhook that wants to
-- hear of one. Whoever runs this holds the lock of the relay, and that of the deliveries, so what is blocked is known.
--   $1 the numbers of these events
WITH taken AS (
    DELETE FROM event_outbox WHERE seq = ANY ($1::bigint[])
    RETURNING *
), numbered AS MATERIALIZED (
    SELECT t.*, (SELECT last_no FROM event_relay) + row_number() OVER (ORDER BY t.seq) AS no FROM taken t
), counted AS (
    UPDATE event_relay SET last_no = last_no + (SELECT count(*) FROM taken) WHERE EXISTS (SELECT FROM taken)
), kept AS (
    INSERT INTO domain_events (workspace_id, at, id, no, type, subject, platform, data, correlation_id, trace)
    SELECT workspace_id, at, id, no, type, subject, platform, data, correlation_id, trace FROM numbered
    ON CONFLICT DO NOTHING
), wanted AS MATERIALIZED (
    SELECT w.workspace_id, w.id AS webhook_id, n.workspace_id AS event_of, n.at, n.id AS event_id, n.type, n.subject, n.no
    FROM numbered n
    JOIN webhooks w ON w.workspace_id = ANY (ARRAY[n.workspace_id, CASE WHEN n.platform THEN (SELECT id FROM workspaces WHERE platform) END])
    WHERE w.state <> 'disabled' AND w.event_types && ARRAY[n.type, split_part(n.type, '.', 1) || '.*', '*']
), told AS (
    SELECT workspace_id, webhook_id, event_of, at, event_id, type, subject, no,
           row_number() OVER (PARTITION BY webhook_id, subject ORDER BY no) > 1
           OR EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.webhook_id AND d.subject = w.subject) AS blocked
    FROM wanted w
)
INSERT INTO deliveries (workspace_id, webhook_id, event_of, event_at, event_id, type, subject, blocked)
SELECT workspace_id, webhook_id, event_of, at, event_id, type, subject, blocked FROM told ORDER BY no
