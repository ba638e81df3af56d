-- Mail a token that sets a new password, five an hour at the most. For an address that no account has, the same rows are written,
-- of a mail that is done with already, so that it takes as long.
--   $1 outbox id, $2 token's hash, $3 sealed token, $4 address, $5 for how long the token is good, in seconds
WITH account AS (
    SELECT u.id, u.email FROM users u
    WHERE u.email = $4::text::citext AND u.is_active
      AND (SELECT count(*) FROM mail_tokens t
           WHERE t.user_id = u.id AND t.purpose = 'reset' AND t.created_at > now() - interval '1 hour') < 5
), recipient AS ( -- as the account has it, not as it was typed: to some mail servers upper case is another box
    SELECT coalesce((SELECT email::text FROM account), $4::text) AS email
), token AS (
    INSERT INTO mail_tokens (hash, user_id, purpose, email, expires_at)
    SELECT $2::bytea, (SELECT id FROM account), 'reset', email, now() + make_interval(secs => $5::int) FROM recipient
)
INSERT INTO outbox (id, topic, payload, sealed, done_at)
SELECT $1::uuid, 'mail', jsonb_build_object('to', email, 'template', 'reset'), $3::bytea,
       CASE WHEN EXISTS (SELECT FROM account) THEN NULL ELSE now() END
FROM recipient
