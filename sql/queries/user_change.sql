-- What an administrator changes about an account. One that is switched off loses its sessions by a trigger. Nothing is
-- done that would leave no administrator.
--   $1 id, $2 role or NULL, $3 whether active or NULL, $4 whether to set username, $5 username, $6 whether to set full_name, $7 full_name
WITH before AS (
    SELECT id, role, is_active, username, full_name FROM users WHERE id = $1::bigint
), changed AS (
    UPDATE users
    SET role = coalesce($2, role), is_active = coalesce($3::boolean, is_active),
        username = CASE WHEN $4::boolean THEN $5 ELSE username END,
        full_name = CASE WHEN $6::boolean THEN $7 ELSE full_name END, updated_at = now()
    WHERE id = $1::bigint AND NOT (($2 = 'user' OR NOT $3::boolean) IS TRUE AND is_last_admin(id))
    RETURNING id, role, is_active, username, full_name
)
SELECT changed.id, jsonb_build_object('before', to_jsonb(before) - 'id', 'after', to_jsonb(changed) - 'id')
FROM changed JOIN before USING (id)
