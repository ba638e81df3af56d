-- What accounts need besides a password: proofs that are mailed, a second factor, delays for those who guess.

ALTER TABLE users ADD COLUMN email_verified_at timestamptz;

-- What administrators look for in. Trigrams find any piece of three characters or more.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE FUNCTION user_search(email citext, username text, full_name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(email::text || ' ' || coalesce(username, '') || ' ' || coalesce(full_name, ''))
$$;
CREATE INDEX users_search ON users USING gin (user_search(email, username, full_name) gin_trgm_ops);

-- What others must hear of, written in the transaction of its cause. `sealed` is what nobody may read who only has the database,
-- such as the token in a mail; it is sealed with the master secret, under the row's id.
CREATE TABLE outbox (
    id         uuid PRIMARY KEY,
    topic      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    payload    jsonb NOT NULL,
    sealed     bytea,
    done_at    timestamptz
);
CREATE INDEX outbox_waiting ON outbox (topic, id) WHERE done_at IS NULL;
CREATE INDEX outbox_done ON outbox (done_at) WHERE done_at IS NOT NULL;

-- Tokens that were mailed, each good for one use; stored as SHA-256. One without a user was asked for with an address that no
-- account has: it is written all the same, so that asking takes as long. For the same reason no foreign key locks the account's row;
-- tokens of one that is gone lead nowhere, and expire.
CREATE TABLE mail_tokens (
    hash       bytea PRIMARY KEY,
    user_id    bigint,
    purpose    text NOT NULL CHECK (purpose IN ('verify', 'reset', 'change')),
    email      citext NOT NULL, -- where it was sent to
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX mail_tokens_user ON mail_tokens (user_id, purpose, created_at);
CREATE INDEX mail_tokens_expiry ON mail_tokens (expires_at);

-- A second factor: TOTP (RFC 6238). It counts from when it was confirmed. `last_step` is the time step of the code that was used
-- last: no code is taken twice, nor one of before.
CREATE TABLE totp (
    user_id      bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    sealed       bytea NOT NULL, -- the key, sealed with the master secret
    created_at   timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,
    last_step    bigint NOT NULL DEFAULT 0,
    failures     int NOT NULL DEFAULT 0,
    wait_until   timestamptz
);
CREATE TABLE recovery_codes (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    hash    bytea NOT NULL,
    PRIMARY KEY (user_id, hash)
);

-- Attempts to log in that did not succeed, by what was tried and from where. `account` is a hash of the address that was given, or
-- empty for all that came from there.
CREATE TABLE login_attempts (
    account  bytea NOT NULL,
    network  inet NOT NULL,
    failures int NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (account, network)
);
CREATE INDEX login_attempts_last ON login_attempts (last_at);

-- By what an entry's actor asked: a session, or a service.
ALTER TABLE audit_log ADD COLUMN actor_grant uuid;
CREATE INDEX audit_log_subject ON audit_log (subject, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
