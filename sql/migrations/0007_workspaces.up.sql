-- Workspaces that people share, and keys for programs.

ALTER TABLE workspaces ADD COLUMN slug text UNIQUE CHECK (slug ~ '^[a-z][a-z0-9-]{1,62}$');

-- What a worker remembers of a membership goes by its grant_id. Whoever changes the role gets another, and the old one is revoked,
-- as it is when the membership ends.
ALTER TABLE memberships ADD COLUMN grant_id uuid NOT NULL DEFAULT gen_random_uuid();
CREATE UNIQUE INDEX memberships_owner ON memberships (workspace_id) WHERE role = 'owner';

-- `hash` is the SHA-256 of the whole key. A key ends with the membership of who made it, and can never do more than they.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    workspace_id bigint NOT NULL,
    user_id      bigint NOT NULL,
    name         text NOT NULL,
    prefix       text NOT NULL, -- what is shown of it
    hash         bytea NOT NULL UNIQUE,
    scopes       text[] NOT NULL CHECK (scopes <@ '{events:write,analytics:read,admin}' AND cardinality(scopes) > 0),
    per_second   int CHECK (per_second > 0),
    burst        int CHECK (burst > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    FOREIGN KEY (workspace_id, user_id) REFERENCES memberships (workspace_id, user_id) ON DELETE CASCADE
);
CREATE INDEX api_keys_workspace ON api_keys (workspace_id, id);
CREATE INDEX api_keys_member ON api_keys (user_id, workspace_id);

CREATE TABLE invitations (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    email        citext NOT NULL,
    role         text NOT NULL CHECK (role IN ('admin', 'member', 'viewer')),
    hash         bytea NOT NULL UNIQUE, -- of the token that was mailed
    invited_by   bigint REFERENCES users ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    UNIQUE (workspace_id, email)
);
CREATE INDEX invitations_expiry ON invitations (expires_at);
CREATE INDEX invitations_inviter ON invitations (invited_by);

-- Workers remember keys and memberships for half a minute, so a revocation needs to stand not much longer.
CREATE FUNCTION revoke_ended_rights() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF TG_TABLE_NAME = 'api_keys' THEN
        INSERT INTO revocations (grant_id, revoked_at, expires_at)
        SELECT id, clock_timestamp(), clock_timestamp() + interval '10 minutes' FROM ended ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO revocations (grant_id, revoked_at, expires_at)
        SELECT grant_id, clock_timestamp(), clock_timestamp() + interval '10 minutes' FROM ended ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER api_keys_ended AFTER DELETE ON api_keys REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION revoke_ended_rights();
CREATE TRIGGER memberships_ended AFTER DELETE ON memberships REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION revoke_ended_rights();

CREATE FUNCTION renew_membership() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (grant_id, revoked_at, expires_at)
    VALUES (OLD.grant_id, clock_timestamp(), clock_timestamp() + interval '10 minutes') ON CONFLICT DO NOTHING;
    NEW.grant_id := gen_random_uuid();
    RETURN NEW;
END
$$;
CREATE TRIGGER memberships_renewed BEFORE UPDATE OF role ON memberships
    FOR EACH ROW WHEN (OLD.role <> NEW.role) EXECUTE FUNCTION renew_membership();

-- Members are remembered by the slug that they chose by, too.
CREATE FUNCTION renew_memberships() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (grant_id, revoked_at, expires_at)
    SELECT grant_id, clock_timestamp(), clock_timestamp() + interval '10 minutes' FROM memberships WHERE workspace_id = NEW.id
    ON CONFLICT DO NOTHING;
    UPDATE memberships SET grant_id = gen_random_uuid() WHERE workspace_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER workspaces_renamed AFTER UPDATE OF slug ON workspaces
    FOR EACH ROW WHEN (OLD.slug IS DISTINCT FROM NEW.slug) EXECUTE FUNCTION renew_memberships();

-- Whoever is switched off loses keys as well.
CREATE OR REPLACE FUNCTION end_sessions_of_inactive() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM sessions WHERE user_id = NEW.id;
    DELETE FROM api_keys WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
