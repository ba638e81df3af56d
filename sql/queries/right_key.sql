-- What a key may do. That it was used is written down twice a minute at the most.
--   $1 the key's hash
WITH found AS (
    SELECT k.id, k.workspace_id, k.user_id, k.scopes, k.expires_at, k.per_second, k.burst, k.last_used_at, m.role, m.grant_id, w.slug
    FROM api_keys k
    JOIN memberships m ON m.workspace_id = k.workspace_id AND m.user_id = k.user_id
    JOIN workspaces w ON w.id = k.workspace_id AND w.closed_at IS NULL
    JOIN users u ON u.id = k.user_id AND u.is_active
    WHERE k.hash = $1::bytea AND (k.expires_at IS NULL OR k.expires_at > now())
), used AS (
    UPDATE api_keys k SET last_used_at = now() FROM found f
    WHERE k.id = f.id AND (f.last_used_at IS NULL OR f.last_used_at < now() - interval '30 seconds')
)
SELECT workspace_id, user_id, role, grant_id, slug, id, array_to_string(scopes, ' '), extract(epoch FROM expires_at)::bigint,
       per_second, burst
FROM found
