-- Delete an account: the personal workspace is closed, the rest cascades. Deleting a session revokes it.
--   $1 user
WITH closed AS (
    UPDATE workspaces SET closed_at = now()
    WHERE personal AND id IN (SELECT workspace_id FROM memberships WHERE user_id = $1 AND role = 'owner')
), gone AS (
    DELETE FROM users WHERE id = $1
    RETURNING id, email
), counted AS (
    INSERT INTO totals AS t (name, shard, n) SELECT 'users', (random() * 7)::int, -1 FROM gone
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
)
SELECT id, jsonb_build_object('email', email) FROM gone
