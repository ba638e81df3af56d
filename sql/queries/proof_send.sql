-- Mail a token that proves an address of an account: its own (verify), or the one that is to become it (change). Five an hour of a
-- kind, past which nothing is sent. Nothing either for an address that is verified already.
--   $1 outbox id, $2 token's hash, $3 sealed token, $4 user, $5 purpose, $6 the new address, or NULL: its own,
--   $7 for how long the token is good, in seconds
WITH account AS (
    SELECT u.id, coalesce($6::text::citext, u.email) AS email FROM users u
    WHERE u.id = $4::bigint AND u.is_active AND ($5 <> 'verify' OR u.email_verified_at IS NULL)
      AND (SELECT count(*) FROM mail_tokens t
           WHERE t.user_id = u.id AND t.purpose = $5 AND t.created_at > now() - interval '1 hour') < 5
), earlier AS ( -- the new address that was asked for last is the one; the tokens stay to be counted
    UPDATE mail_tokens t SET expires_at = now() FROM account a
    WHERE t.user_id = a.id AND t.purpose = 'change' AND $5 = 'change' AND t.expires_at > now()
), token AS (
    INSERT INTO mail_tokens (hash, user_id, purpose, email, expires_at)
    SELECT $2::bytea, id, $5, email, now() + make_interval(secs => $7::int) FROM account
)
INSERT INTO outbox (id, topic, payload, sealed)
SELECT $1::uuid, 'mail', jsonb_build_object('to', email, 'template', $5::text), $3::bytea FROM account
RETURNING id
