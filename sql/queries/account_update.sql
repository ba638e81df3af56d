-- Change an account. A new password or address ends every other session of the account, and voids tokens that were mailed to set a
-- password or to confirm an address; a new address is not proven yet.
--   $1 user, $2 the session that asks, $3 email or NULL, $4 password hash or NULL,
--   $5 whether to set username, $6 username, $7 whether to set full_name, $8 full_name,
--   $9 the password hash that was checked: a change that came between makes this one do nothing
WITH before AS (
    SELECT id, email, username, full_name FROM users WHERE id = $1::bigint
), changed AS (
    UPDATE users
    SET email = coalesce($3::text, email), password_hash = coalesce($4, password_hash),
        username = CASE WHEN $5::boolean THEN $6 ELSE username END,
        full_name = CASE WHEN $7::boolean THEN $8 ELSE full_name END,
        email_verified_at = CASE WHEN $3::text::citext <> email THEN NULL ELSE email_verified_at END,
        updated_at = now()
    WHERE id = $1::bigint AND is_active AND password_hash = $9
    RETURNING id, email, username, full_name, created_at, updated_at
), ended AS (
    DELETE FROM sessions
    USING changed
    WHERE sessions.user_id = changed.id AND sessions.id <> $2::uuid AND ($3 IS NOT NULL OR $4 IS NOT NULL)
), void AS (
    DELETE FROM mail_tokens t USING changed c
    WHERE t.user_id = c.id AND t.purpose IN ('reset', 'change') AND ($3 IS NOT NULL OR $4 IS NOT NULL)
)
SELECT c.id, c.email, c.username, c.full_name, (extract(epoch FROM c.created_at) * 1000000)::bigint,
       (extract(epoch FROM c.updated_at) * 1000000)::bigint,
       jsonb_build_object('before', to_jsonb(b) - 'id',
                          'after', to_jsonb(c) - '{id,created_at,updated_at}'::text[], 'password_changed', $4 IS NOT NULL)
FROM changed c JOIN before b USING (id)
