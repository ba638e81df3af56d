-- Use an invitation, by the account of the address that it was sent to. The address then counts as proven. It is as good as whoever
-- made it: who manages the workspace no more lets nobody in.
--   $1 the token's hash, $2 the account
WITH used AS (
    DELETE FROM invitations i USING users u, workspaces w
    WHERE i.hash = $1::bytea AND i.expires_at > now() AND u.id = $2::bigint AND u.is_active AND u.email = i.email
      AND w.id = i.workspace_id AND w.closed_at IS NULL
      AND NOT EXISTS (SELECT FROM memberships m WHERE m.workspace_id = i.workspace_id AND m.user_id = u.id)
      AND EXISTS (SELECT FROM memberships m JOIN users b ON b.id = m.user_id AND b.is_active
                  WHERE m.workspace_id = i.workspace_id AND m.user_id = i.invited_by AND m.role IN ('owner', 'admin'))
    RETURNING i.workspace_id, i.role
), proven AS (
    UPDATE users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = $2::bigint AND EXISTS (SELECT FROM used)
), joined AS (
    INSERT INTO memberships (workspace_id, user_id, role) SELECT workspace_id, $2::bigint, role FROM used
    ON CONFLICT (workspace_id, user_id) DO NOTHING
    RETURNING workspace_id, role
)
SELECT workspace_id, jsonb_build_object('user_id', $2::bigint, 'role', role), role FROM joined
