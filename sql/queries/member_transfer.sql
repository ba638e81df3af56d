-- Hand a workspace over to one of its members.
--   $1 workspace, $2 the owner, $3 who is to be it
-- The owner of before goes first, as there can be one only; the trigger renews both.
WITH successor AS (
    SELECT m.workspace_id, m.user_id FROM memberships m JOIN users u ON u.id = m.user_id AND u.is_active
    WHERE m.workspace_id = $1::bigint AND m.user_id = $3::bigint AND m.role <> 'owner'
    FOR UPDATE OF m
)
UPDATE memberships m SET role = 'admin' FROM successor s
WHERE m.workspace_id = s.workspace_id AND m.user_id = $2::bigint AND m.role = 'owner'
RETURNING m.workspace_id, jsonb_build_object('from', $2::bigint, 'to', $3::bigint)
