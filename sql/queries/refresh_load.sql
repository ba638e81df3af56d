-- A session whose refresh token is used, with its user as session_read_user() takes it, locked until the token is judged.
--   $1 session
SELECT u.id, w.id, u.email, u.username, u.full_name, (extract(epoch FROM u.created_at) * 1000000)::bigint,
       (extract(epoch FROM u.updated_at) * 1000000)::bigint,
       s.generation, encode(s.refresh_hash, 'hex'), (extract(epoch FROM now() - s.refreshed_at) * 1000000)::bigint,
       (extract(epoch FROM s.refreshed_at) * 1000000)::bigint, (extract(epoch FROM s.expires_at) * 1000000)::bigint
FROM sessions s
JOIN users u ON u.id = s.user_id
JOIN memberships m ON m.user_id = u.id
JOIN workspaces w ON w.id = m.workspace_id AND w.personal
WHERE s.id = $1::uuid AND s.expires_at > now() AND s.refresh_hash IS NOT NULL AND u.is_active
FOR UPDATE OF s
