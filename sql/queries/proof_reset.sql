-- Use a token that sets a new password: all sessions end, other such tokens and those of a new address are good for nothing, and the
-- address is proven too.
--   $1 the token's hash, $2 the password's hash, $3 outbox id of the notice
WITH used AS (
    DELETE FROM mail_tokens WHERE hash = $1::bytea AND purpose = 'reset' AND expires_at > now()
    RETURNING user_id, email
), changed AS (
    UPDATE users u
    SET password_hash = $2, email_verified_at = coalesce(u.email_verified_at, now()), updated_at = now()
    FROM used WHERE u.id = used.user_id AND u.email = used.email AND u.is_active
    RETURNING u.id, u.email
), others AS (
    DELETE FROM mail_tokens t USING changed c WHERE t.user_id = c.id AND t.purpose IN ('reset', 'change') AND t.hash <> $1::bytea
), ended AS (
    DELETE FROM sessions s USING changed c WHERE s.user_id = c.id
), notice AS (
    INSERT INTO outbox (id, topic, payload)
    SELECT $3::uuid, 'mail', jsonb_build_object('to', email, 'template', 'password') FROM changed
)
SELECT id FROM changed
