-- Use a token that makes an address the account's. The address of before gets a notice; tokens that went there are good for nothing.
-- All sessions end.
--   $1 the token's hash, $2 outbox id of the notice
WITH used AS (
    DELETE FROM mail_tokens WHERE hash = $1::bytea AND purpose = 'change' AND expires_at > now()
    RETURNING user_id, email
), before AS (
    SELECT u.id, u.email FROM users u JOIN used ON u.id = used.user_id AND u.is_active
), changed AS (
    UPDATE users u SET email = used.email, email_verified_at = now(), updated_at = now()
    FROM used JOIN before ON before.id = used.user_id WHERE u.id = used.user_id
    RETURNING u.id
), others AS (
    DELETE FROM mail_tokens t USING changed c WHERE t.user_id = c.id AND t.hash <> $1::bytea
), ended AS (
    DELETE FROM sessions s USING changed c WHERE s.user_id = c.id
), notice AS (
    INSERT INTO outbox (id, topic, payload)
    SELECT $2::uuid, 'mail', jsonb_build_object('to', before.email, 'template', 'changed') FROM before
)
SELECT id FROM changed
