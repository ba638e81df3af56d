DROP FUNCTION login_wait(bytea, int, timestamptz);
DROP FUNCTION is_last_admin(bigint);
DROP INDEX users_admins;
