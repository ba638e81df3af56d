-- One account, in the columns of user_list.sql.
--   $1 its id
SELECT u.id, u.email, u.username, u.full_name, u.role, u.is_active, u.email_verified_at IS NOT NULL,
       EXISTS (SELECT FROM totp t WHERE t.user_id = u.id AND t.confirmed_at IS NOT NULL),
       (extract(epoch FROM u.created_at) * 1000000)::bigint, (extract(epoch FROM u.updated_at) * 1000000)::bigint
FROM users u WHERE u.id = $1::bigint
