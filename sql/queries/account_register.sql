-- Make an account with its personal workspace, membership and first session, or nothing.
--   $1 session id, or NULL: no session, $2 address, $3 user agent, $4 session's lifetime in seconds, $5 seed, $6 refresh token's hash,
--   $7 email, $8 password hash, $9 username, $10 full name, $11 outbox id, $12 hash of the token that proves the address,
--   $13 sealed token, $14 for how long it is good, in seconds
-- The total is spread over eight rows, so that registrations do not wait for one another.
WITH person AS (
    INSERT INTO users (email, password_hash, username, full_name)
    VALUES ($7::text, $8, $9, $10)
    RETURNING id, created_at
), space AS (
    INSERT INTO workspaces (name, personal) VALUES ('Personal', true)
    RETURNING id
), member AS (
    INSERT INTO memberships (workspace_id, user_id, role)
    SELECT space.id, person.id, 'owner' FROM space, person
), session AS (
    INSERT INTO sessions (id, address, user_agent, expires_at, seed, refresh_hash, user_id)
    SELECT $1::uuid, $2::inet, $3, now() + make_interval(secs => $4::int), $5::bytea, $6::bytea, person.id
    FROM person WHERE $1::uuid IS NOT NULL
), proof AS (
    INSERT INTO mail_tokens (hash, user_id, purpose, email, expires_at)
    SELECT $12::bytea, id, 'verify', $7::text, now() + make_interval(secs => $14::int) FROM person
), mail AS (
    INSERT INTO outbox (id, topic, payload, sealed)
    VALUES ($11::uuid, 'mail', jsonb_build_object('to', $7::text, 'template', 'verify'), $13::bytea)
), counted AS (
    INSERT INTO totals AS t (name, shard, n) VALUES ('users', (random() * 7)::int, 1)
    ON CONFLICT (name, shard) DO UPDATE SET n = t.n + excluded.n
)
SELECT person.id, space.id, (extract(epoch FROM person.created_at) * 1000000)::bigint
FROM person, space
