-- Invite an address to a workspace by mail. An earlier invitation of that address is replaced, and its token void. Nobody is invited
-- to a personal workspace, or twice within a minute, or who is in it; a workspace has at most 100 invitations that wait. Nobody gets
-- more than five such mails an hour from one account, whatever became of the invitations.
--   $1 outbox id, $2 token's hash, $3 sealed token, $4 workspace, $5 address, $6 role, $7 who invites, $8 for how long, in seconds
WITH space AS (
    SELECT w.id, w.name FROM workspaces w
    WHERE w.id = $4::bigint AND w.closed_at IS NULL AND NOT w.personal
      AND NOT EXISTS (SELECT FROM memberships m JOIN users u ON u.id = m.user_id
                      WHERE m.workspace_id = w.id AND u.email = $5::text::citext)
      AND NOT EXISTS (SELECT FROM invitations i WHERE i.workspace_id = w.id AND i.email = $5::text::citext
                      AND i.created_at > now() - interval '1 minute')
      AND (SELECT count(*) FROM invitations i
           WHERE i.workspace_id = w.id AND i.expires_at > now() AND i.email <> $5::text::citext) < 100
      AND (SELECT count(*) FROM outbox o WHERE o.topic = 'mail' AND lower(o.payload->>'to') = lower($5::text)
           AND o.created_at > now() - interval '1 hour' AND o.payload->>'by' = ($7::bigint)::text) < 5
), invited AS (
    INSERT INTO invitations AS i (workspace_id, email, role, hash, invited_by, expires_at)
    SELECT id, $5::text, $6, $2::bytea, $7::bigint, now() + make_interval(secs => $8::int) FROM space
    ON CONFLICT (workspace_id, email) DO UPDATE
    SET role = excluded.role, hash = excluded.hash, invited_by = excluded.invited_by, created_at = now(), expires_at = excluded.expires_at
    RETURNING id, workspace_id, email, role, created_at, expires_at
), mail AS (
    INSERT INTO outbox (id, topic, payload, sealed)
    SELECT $1::uuid, 'mail', jsonb_build_object('to', email, 'template', 'invite', 'by', $7::bigint), $3::bytea FROM invited
)
SELECT id, jsonb_build_object('workspace_id', workspace_id, 'email', email, 'role', role), email, role,
       (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM expires_at) * 1000000)::bigint
FROM invited
