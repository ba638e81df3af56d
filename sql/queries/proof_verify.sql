-- Use a token that proves an account's address.
--   $1 the token's hash
WITH used AS (
    DELETE FROM mail_tokens WHERE hash = $1::bytea AND purpose = 'verify' AND expires_at > now()
    RETURNING user_id, email
)
UPDATE users u SET email_verified_at = coalesce(u.email_verified_at, now())
FROM used WHERE u.id = used.user_id AND u.email = used.email AND u.is_active
RETURNING u.id
