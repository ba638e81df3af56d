-- Change an account. A new password or address ends every other session of the account.
--   $1 user, $2 the session that asks, $3 email or NULL, $4 password hash or NULL,
--   $5 whether to set username, $6 username, $7 whether to set full_name, $8 full_name,
--   $9 the password hash that was checked: a change that came between makes this one do nothing
WITH changed AS (
    UPDATE users
    SET email = coalesce($3::text, email), password_hash = coalesce($4, password_hash),
        username = CASE WHEN $5::boolean THEN $6 ELSE username END,
        full_name = CASE WHEN $7::boolean THEN $8 ELSE full_name END,
        updated_at = now()
    WHERE id = $1 AND is_active AND password_hash = $9
    RETURNING id, email, username, full_name, created_at, updated_at
), ended AS (
    DELETE FROM sessions
    USING changed
    WHERE sessions.user_id = changed.id AND sessions.id <> $2::uuid AND ($3 IS NOT NULL OR $4 IS NOT NULL)
)
SELECT email, username, full_name, (extract(epoch FROM created_at) * 1000000)::bigint,
       (extract(epoch FROM updated_at) * 1000000)::bigint
FROM changed
