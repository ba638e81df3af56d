DROP FUNCTION login_wait(bytea, int, timestamptz);
DROP INDEX outbox_to;
DROP INDEX users_password_cost;
DROP FUNCTION is_last_admin(bigint);
DROP INDEX users_admins;
