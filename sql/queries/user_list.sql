-- Accounts in the order of their ids.
--   $1 after this one, $2 how many, $3 what address or a name has in it or NULL, $4 role or NULL, $5 whether active or NULL
SELECT u.id, u.email, u.username, u.full_name, u.role, u.is_active, u.email_verified_at IS NOT NULL,
       EXISTS (SELECT FROM totp t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL),
       (extract(epoch FROM u.created_at) * 1000000)::bigint, (extract(epoch FROM u.updated_at) * 1000000)::bigint
FROM users u
WHERE u.id > $1::bigint
  AND ($3::text IS NULL OR user_search(u.email, u.username, u.full_name)
       LIKE '%' || replace(replace(replace(lower($3), '\', '\\'), '%', '\%'), '_', '\_') || '%')
  AND ($4::text IS NULL OR u.role = $4) AND ($5::text IS NULL OR u.is_active = $5::boolean)
ORDER BY u.id LIMIT $2::bigint
