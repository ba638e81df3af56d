-- Begin attempts at deliveries that are due. Each webhook has room for a few at once, one that fails for one; so a slow one holds up no other.
-- Until the lease is over nobody else takes what was taken.
--   $1 how many at most, $2 how many of one webhook at once, $3 webhooks that have some under way, $4 how many, $5 the lease in seconds,
--   $6 the issuer, as the source of CloudEvents
WITH RECURSIVE ready AS ( -- the webhooks that have deliveries, one after the other by the index
    (SELECT webhook_id FROM deliveries WHERE NOT blocked ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM deliveries d WHERE NOT d.blocked AND d.webhook_id > r.webhook_id ORDER BY d.webhook_id LIMIT 1)
    FROM ready r WHERE r.webhook_id IS NOT NULL
), open AS MATERIALIZED (
    SELECT w.id, CASE WHEN w.failing_since IS NULL THEN $2::bigint ELSE 1 END - coalesce(u.n, 0) AS room
    FROM ready r JOIN webhooks w ON w.id = r.webhook_id AND w.state = 'enabled'
    LEFT JOIN unnest($3::uuid[], $4::bigint[]) AS u (id, n) ON u.id = w.id
), due AS MATERIALIZED (
    SELECT found.*
    FROM open o CROSS JOIN LATERAL (
        SELECT d.workspace_id, d.webhook_id, d.id, d.next_at FROM deliveries d
        WHERE d.webhook_id = o.id AND NOT d.blocked AND d.next_at <= now()
        ORDER BY d.next_at, d.id
        LIMIT greatest(o.room, 0)
        FOR UPDATE SKIP LOCKED
    ) AS found
    ORDER BY found.next_at, found.id
    LIMIT $1::bigint
), begun AS (
    UPDATE deliveries d SET attempts = attempts + 1, next_at = now() + $5::bigint * interval '1 s'
    FROM due
    WHERE d.workspace_id = due.workspace_id AND d.webhook_id = due.webhook_id AND d.id = due.id
    RETURNING d.workspace_id, d.webhook_id, d.id, d.attempts, d.event_of, d.event_at, d.event_id
)
SELECT b.workspace_id, b.id, b.attempts, b.webhook_id, b.event_id, w.url, encode(w.secret, 'hex'),
       CASE WHEN w.old_secret_until > now() THEN encode(w.old_secret, 'hex') END, w.format,
       CASE w.format WHEN 'cloudevents' THEN event_cloudevent(e, $6) ELSE event_envelope(e) END, e.trace
FROM begun b
JOIN webhooks w ON w.workspace_id = b.workspace_id AND w.id = b.webhook_id
LEFT JOIN domain_events e ON e.workspace_id = b.event_of AND e.at = b.event_at AND e.id = b.event_id
ORDER BY b.id
