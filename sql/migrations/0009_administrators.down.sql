DROP FUNCTION is_last_admin(bigint);
DROP INDEX users_admins;
