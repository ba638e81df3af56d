-- Keys and invitations are lost; shared workspaces stay, with nothing to choose them by.
CREATE OR REPLACE FUNCTION end_sessions_of_inactive() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM sessions WHERE user_id = NEW.id;
    RETURN NULL;
END
$$;
DROP TRIGGER workspaces_renamed ON workspaces;
DROP FUNCTION renew_memberships();
DROP TRIGGER memberships_renewed ON memberships;
DROP FUNCTION renew_membership();
DROP TRIGGER memberships_ended ON memberships;
DROP TABLE invitations, api_keys;
DROP FUNCTION revoke_ended_rights();
DROP INDEX memberships_owner;
ALTER TABLE memberships DROP COLUMN grant_id;
ALTER TABLE workspaces DROP COLUMN slug;
