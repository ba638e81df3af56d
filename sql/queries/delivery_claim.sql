-- Begin attempts at deliveries that are due. Each webhook has room for a few at once; one that fails, or is slow, for a single one. A workspace has
-- room for some, and those that fail or are slow together leave room for others: so nobody holds up the rest.
-- Until the lease is over nobody else takes what was taken: whoever waited for this finds it taken.
--   $1 how many at most, $2 how many of one webhook at once, $3 webhooks that have some under way, $4 how many, $5 the lease in seconds,
--   $6 the issuer, as the source of CloudEvents, $7 how many of one workspace at once, $8 how many of those that are slow
WITH RECURSIVE ready AS ( -- the webhooks that have deliveries, one after the other by the index
    (SELECT webhook_id FROM deliveries WHERE NOT blocked ORDER BY webhook_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.webhook_id FROM deliveries d WHERE NOT d.blocked AND d.webhook_id > r.webhook_id ORDER BY d.webhook_id LIMIT 1)
    FROM ready r WHERE r.webhook_id IS NOT NULL
), under_way AS MATERIALIZED (
    SELECT w.workspace_id, u.id, u.n, w.slow OR w.failing_since IS NOT NULL AS slow
    FROM unnest($3::uuid[], $4::bigint[]) AS u (id, n) JOIN webhooks w ON w.id = u.id
), open AS MATERIALIZED (
    SELECT w.id, w.workspace_id, w.slow OR w.failing_since IS NOT NULL AS slow,
           CASE WHEN w.slow OR w.failing_since IS NOT NULL THEN 1 ELSE $2::bigint END - coalesce(u.n, 0) AS room
    FROM ready r JOIN webhooks w ON w.id = r.webhook_id AND w.state = 'enabled' LEFT JOIN under_way u ON u.id = w.id
), due AS MATERIALIZED (
    SELECT found.*, o.slow, row_number() OVER (PARTITION BY o.workspace_id ORDER BY o.slow, found.next_at, found.id) AS nth
    FROM open o CROSS JOIN LATERAL (
        SELECT d.workspace_id, d.webhook_id, d.id, d.next_at FROM deliveries d
        WHERE d.webhook_id = o.id AND NOT d.blocked AND d.next_at <= now()
        ORDER BY d.next_at, d.id
        LIMIT greatest(o.room, 0)
    ) AS found
), fitting AS MATERIALIZED ( -- among those of their workspace; only these take turns with others
    SELECT due.*, row_number() OVER (PARTITION BY slow ORDER BY next_at, id) AS nth_of_kind FROM due
    WHERE nth + coalesce((SELECT sum(n) FROM under_way u WHERE u.workspace_id = due.workspace_id), 0) <= $7::bigint
), chosen AS MATERIALIZED (
    SELECT fitting.* FROM fitting
    WHERE NOT slow OR nth_of_kind + coalesce((SELECT sum(n) FROM under_way u WHERE u.slow), 0) <= $8::bigint
    ORDER BY next_at, id
    LIMIT $1::bigint
), begun AS (
    UPDATE deliveries d SET attempts = attempts + 1, next_at = now() + $5::bigint * interval '1 s'
    FROM chosen c
    WHERE d.workspace_id = c.workspace_id AND d.webhook_id = c.webhook_id AND d.id = c.id AND d.next_at <= now()
    RETURNING d.workspace_id, d.webhook_id, d.id, d.attempts, d.event_of, d.event_at, d.event_id
)
SELECT b.workspace_id, b.id, b.attempts, b.webhook_id, b.event_id, w.url, encode(w.secret, 'hex'),
       CASE WHEN w.old_secret_until > now() THEN encode(w.old_secret, 'hex') END, w.format,
       CASE WHEN e.id IS NULL THEN NULL WHEN w.format = 'cloudevents' THEN event_cloudevent(e, $6) ELSE event_envelope(e) END, e.trace, w.revision
FROM begun b
JOIN webhooks w ON w.workspace_id = b.workspace_id AND w.id = b.webhook_id
LEFT JOIN domain_events e ON e.workspace_id = b.event_of AND e.at = b.event_at AND e.id = b.event_id
ORDER BY b.id
