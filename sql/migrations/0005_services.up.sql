-- Programs that ask for themselves, by OAuth 2 client credentials.

-- What is revoked is any grant: a session, a service; or a single access token.
ALTER TABLE revocations RENAME COLUMN session_id TO grant_id;
CREATE OR REPLACE FUNCTION revoke_ended_sessions() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (grant_id, revoked_at, expires_at)
    SELECT id, clock_timestamp(), refreshed_at + interval '1 day 15 minutes' FROM ended
    WHERE refreshed_at + interval '1 day 15 minutes' > now()
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

-- `id` is the client_id, and stands in the service's tokens. The secret is 256 random bits, so its SHA-256 gives nothing away.
CREATE TABLE services (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    secret_hash bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    renewed_at  timestamptz NOT NULL DEFAULT now()
);

-- A service's tokens may have been given out up to this moment.
CREATE FUNCTION revoke_ended_services() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (grant_id, revoked_at, expires_at)
    SELECT id, clock_timestamp(), clock_timestamp() + interval '1 day 15 minutes' FROM ended
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER services_ended AFTER DELETE ON services REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION revoke_ended_services();
