-- Use an invitation, by the account of the address that it was sent to. The address then counts as proven.
--   $1 the token's hash, $2 the account
WITH used AS (
    DELETE FROM invitations i USING users u, workspaces w
    WHERE i.hash = $1::bytea AND i.expires_at > now() AND u.id = $2::bigint AND u.is_active AND u.email = i.email
      AND w.id = i.workspace_id AND w.closed_at IS NULL
    RETURNING i.workspace_id, i.role
), proven AS (
    UPDATE users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = $2::bigint AND EXISTS (SELECT FROM used)
), joined AS (
    INSERT INTO memberships (workspace_id, user_id, role) SELECT workspace_id, $2::bigint, role FROM used
    ON CONFLICT (workspace_id, user_id) DO NOTHING
)
SELECT workspace_id, jsonb_build_object('user_id', $2::bigint, 'role', role), role FROM used
