-- There is always an administrator who can log in, as long as there was one.
CREATE INDEX users_admins ON users (id) WHERE role = 'admin' AND is_active;

-- Whether nobody else could administer. Lock the rows of all administrators first: two who leave at once must not count on each other.
CREATE FUNCTION is_last_admin(who bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active AND id = who)
       AND NOT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active AND id <> who)
$$;
