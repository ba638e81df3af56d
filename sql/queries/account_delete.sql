-- Delete an account: the personal workspace is closed, and those that nobody else is in; the rest cascades. Deleting a session,
-- a membership or a key revokes it. Who owns a workspace that others are in must hand it over first, and who is the last administrator
-- must make another: else nothing is done.
--   $1 user
WITH owned AS (
    SELECT w.id, EXISTS (SELECT FROM memberships o WHERE o.workspace_id = w.id AND o.user_id <> m.user_id) AS shared
    FROM memberships m JOIN workspaces w ON w.id = m.workspace_id AND w.closed_at IS NULL
    WHERE m.user_id = $1::bigint AND m.role = 'owner'
), gone AS (
    DELETE FROM users WHERE id = $1::bigint AND NOT EXISTS (SELECT FROM owned WHERE shared) AND NOT is_last_admin(id)
    RETURNING id, email
), closed AS (
    UPDATE workspaces SET closed_at = now(), slug = NULL WHERE id IN (SELECT id FROM owned) AND EXISTS (SELECT FROM gone)
), counted AS (
    INSERT INTO totals AS t (name, shard, n) SELECT 'users', (random() * 7)::int, -1 FROM gone
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
)
SELECT id, jsonb_build_object('email', email) FROM gone
