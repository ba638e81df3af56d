-- Tell what became of attempts. One of a lease that is over, and that another attempt followed, is another matter. What a webhook did that was
-- changed meanwhile says nothing of it as it is now, and is tried again.
--   $1 workspaces, $2 webhooks, $3 ids, $4 the attempts that these were, $5 delivered, again or failed, $6 for again: in how many
--   milliseconds, $7 what goes into the history, as JSON, $8 whether the receiver said that it is gone, $9 days after which one that fails is
--   disabled, $10 the webhooks' revisions when the attempts began, $11 whether it was slow
-- Answers the webhooks that this disables: workspace, id, host, who made it and is still there or owns the workspace, why.
WITH told AS MATERIALIZED (
    SELECT d.workspace_id, d.id, d.webhook_id, d.subject, w.revision, t.revision <> w.revision AS stale, t.entry::jsonb, t.slow,
           t.gone AND t.revision = w.revision AS gone, t.delay_ms,
           CASE WHEN t.revision <> w.revision AND t.fate = 'failed' THEN 'again' ELSE t.fate END AS fate
    FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::boolean[], $10::bigint[], $11::boolean[])
         AS t (workspace_id, webhook_id, id, attempts, fate, delay_ms, entry, gone, revision, slow)
    JOIN deliveries d ON d.workspace_id = t.workspace_id AND d.webhook_id = t.webhook_id AND d.id = t.id AND d.attempts = t.attempts
    JOIN webhooks w ON w.workspace_id = d.workspace_id AND w.id = d.webhook_id
), again AS (
    UPDATE deliveries d SET next_at = now() + t.delay_ms * interval '1 ms', history = d.history || t.entry
    FROM told t
    WHERE d.workspace_id = t.workspace_id AND d.webhook_id = t.webhook_id AND d.id = t.id AND t.fate = 'again'
), ended AS (
    DELETE FROM deliveries d USING told t
    WHERE d.workspace_id = t.workspace_id AND d.webhook_id = t.webhook_id AND d.id = t.id AND t.fate <> 'again'
    RETURNING d.workspace_id, d.webhook_id, d.id, d.event_of, d.event_at, d.event_id, d.type, d.subject, t.fate, d.attempts,
              d.history || t.entry AS history, d.created_at
), kept AS (
    INSERT INTO deliveries_done (workspace_id, webhook_id, id, event_of, event_at, event_id, type, subject, state, attempts, history, created_at)
    SELECT * FROM ended
), next AS ( -- of the same subject: one at a time
    UPDATE deliveries d SET blocked = false
    FROM (SELECT workspace_id, webhook_id, (SELECT min(n.id) FROM deliveries n WHERE n.webhook_id = e.webhook_id AND n.subject = e.subject AND n.id > e.id) AS id
          FROM ended e) AS n
    WHERE d.workspace_id = n.workspace_id AND d.webhook_id = n.webhook_id AND d.id = n.id AND d.blocked
), fared AS (
    SELECT workspace_id, webhook_id, revision, bool_or(fate = 'delivered') AS well, bool_or(gone) AS gone, bool_or(slow) AS slow
    FROM told WHERE NOT stale GROUP BY 1, 2, 3
), stands AS MATERIALIZED (
    SELECT w.workspace_id, w.id, f.revision, f.gone, f.slow, CASE WHEN f.well THEN NULL ELSE coalesce(w.failing_since, now()) END AS failing_since
    FROM fared f JOIN webhooks w ON w.workspace_id = f.workspace_id AND w.id = f.webhook_id
    WHERE w.state <> 'disabled'
      AND (f.gone OR f.slow <> w.slow OR (w.failing_since IS NULL) <> f.well OR (NOT f.well AND w.failing_since < now() - $9::bigint * interval '1 day'))
)
UPDATE webhooks w
SET failing_since = s.failing_since, slow = s.slow,
    state = CASE WHEN s.gone OR s.failing_since < now() - $9::bigint * interval '1 day' THEN 'disabled' ELSE w.state END,
    disabled_reason = CASE WHEN s.gone THEN 'gone' WHEN s.failing_since < now() - $9::bigint * interval '1 day' THEN 'failing'
                           ELSE w.disabled_reason END
FROM stands s
WHERE w.workspace_id = s.workspace_id AND w.id = s.id AND w.revision = s.revision AND w.state <> 'disabled'
RETURNING w.workspace_id, w.id, substring(w.url FROM '^[a-zA-Z]+://([^/?]*)'),
          coalesce((SELECT m.user_id FROM memberships m WHERE m.workspace_id = w.workspace_id AND m.user_id = w.created_by),
                   (SELECT m.user_id FROM memberships m WHERE m.workspace_id = w.workspace_id AND m.role = 'owner')),
          CASE WHEN w.state = 'disabled' THEN w.disabled_reason END
