DROP TABLE services;
DROP FUNCTION revoke_ended_services();
ALTER TABLE revocations RENAME COLUMN grant_id TO session_id;
CREATE OR REPLACE FUNCTION revoke_ended_sessions() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    INSERT INTO revocations (session_id, revoked_at, expires_at)
    SELECT id, clock_timestamp(), refreshed_at + interval '1 day 15 minutes' FROM ended
    WHERE refreshed_at + interval '1 day 15 minutes' > now()
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
