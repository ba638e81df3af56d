-- Sessions that last as long as their refresh token, keys that are published before they sign, and the audit log.

-- A session's refresh token changes with each use; `generation` counts them. The token follows from session,
-- generation, seed and the master secret, so the one before can be answered with its successor once more, and any earlier one
-- is recognised, without a row for each. What is stored of the current one is its SHA-256. Sessions from before this
-- migration have none, and their access tokens are of a type that is no longer taken: their owners log in again.
ALTER TABLE sessions ADD COLUMN refreshed_at timestamptz NOT NULL DEFAULT now(),
                     ADD COLUMN generation   int NOT NULL DEFAULT 0,
                     ADD COLUMN seed         bytea,
                     ADD COLUMN refresh_hash bytea,
                     ADD CHECK ((seed IS NULL) = (refresh_hash IS NULL));
UPDATE sessions SET refreshed_at = created_at;

-- Whoever ends a session, by whatever way, revokes its access tokens in the same transaction. They live for a day at the
-- most, and the last one was given out at most ten minutes (refresh_grace_s) after the last refresh. The clock is that of the moment, for
-- the transaction may be old, and workers ask for what is new.
CREATE FUNCTION revoke_ended_sessions() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (session_id, revoked_at, expires_at)
    SELECT id, clock_timestamp(), refreshed_at + interval '1 day 15 minutes' FROM ended
    WHERE refreshed_at + interval '1 day 15 minutes' > now()
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION revoke_ended_sessions();

-- An account that is switched off has no sessions, and gets none back when it is switched on.
CREATE FUNCTION end_sessions_of_inactive() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM sessions WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_switched_off AFTER UPDATE OF is_active ON users
    FOR EACH ROW WHEN (OLD.is_active AND NOT NEW.is_active) EXECUTE FUNCTION end_sessions_of_inactive();

-- From when on a key signs. Before, it is only published, so that all who verify tokens know it by then.
ALTER TABLE signing_keys ADD COLUMN active_from timestamptz;
UPDATE signing_keys SET active_from = created_at;
ALTER TABLE signing_keys ALTER COLUMN active_from SET DEFAULT now(), ALTER COLUMN active_from SET NOT NULL;

-- Who did what, on what, from where. Written in the transaction that it tells of, and never changed.
CREATE TABLE audit_log (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor_id   bigint, -- an account, which may be gone by now; NULL: nobody who is known
    action     text NOT NULL,
    subject    text NOT NULL,
    address    inet,
    request_id text,
    detail     jsonb
);
CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_actor ON audit_log (actor_id, id);
