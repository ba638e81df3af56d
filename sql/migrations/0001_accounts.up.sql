-- Accounts, workspaces, sessions and the keys that sign tokens.

CREATE EXTENSION IF NOT EXISTS citext;

CREATE TABLE users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email         citext NOT NULL UNIQUE,
    password_hash text NOT NULL,
    username      text,
    full_name     text,
    role          text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    is_active     boolean NOT NULL DEFAULT true,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);

-- A workspace is the border between tenants. A closed one can be neither written nor read; its
-- events are erased afterwards, in pieces, by tallygatectl workspace purge.
CREATE TABLE workspaces (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL,
    personal   boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at  timestamptz
);
CREATE INDEX workspaces_closed ON workspaces (closed_at) WHERE closed_at IS NOT NULL;

CREATE TABLE memberships (
    workspace_id bigint NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    user_id      bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX memberships_user ON memberships (user_id);

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    address    inet,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Sessions that ended before their access tokens did. Every worker keeps these in memory and asks
-- for new ones four times a second; a row is needed only until the last token of its session ends.
CREATE TABLE revocations (
    session_id uuid PRIMARY KEY,
    revoked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX revocations_revoked ON revocations (revoked_at);
CREATE INDEX revocations_expiry ON revocations (expires_at);

-- ES256 keys. The private part is sealed with a key derived from the master secret.
CREATE TABLE signing_keys (
    kid         text PRIMARY KEY,
    public_pem  text NOT NULL,
    private_key bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Running totals, so that no count is ever a scan. A row for each shard, so that writers do not
-- wait for one another; readers sum.
CREATE TABLE totals (
    name  text NOT NULL,
    shard int NOT NULL,
    n     bigint NOT NULL,
    PRIMARY KEY (name, shard)
) WITH (fillfactor = 50);
