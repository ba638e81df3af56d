-- What must hold also when many ask at once.

-- There is always an administrator who can log in, as long as there was one.
CREATE INDEX users_admins ON users (id) WHERE role = 'admin' AND is_active;

-- Whether nobody else could administer. Lock the rows of all administrators first: two who leave at once must not count on each other.
CREATE FUNCTION is_last_admin(who bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active AND id = who)
       AND NOT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active AND id <> who)
$$;

-- The costliest of the stored hashes: to check one of those must not take longer than to find no account.
CREATE INDEX users_password_cost ON users (substr(password_hash, 5, 2)) WHERE password_hash LIKE '$2b$__$%';

-- What was mailed to an address lately.
CREATE INDEX outbox_to ON outbox (lower(payload->>'to'), created_at) WHERE topic = 'mail';

-- For how long who failed to log in must wait, by a row of login_attempts; not above zero: they need not. An account has five attempts
-- from one network, then each must wait twice as long as the one before, 15 minutes at the most. All accounts together have thirty,
-- and wait a minute at the most. What was tried last a day ago is forgotten.
CREATE FUNCTION login_wait(account bytea, failures int, last_at timestamptz) RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN failures < free OR last_at <= now() - interval '1 day' THEN '0'
                ELSE last_at + least(2 ^ least(failures - free, 20), longest) * interval '1 s' - now() END
    FROM (VALUES (CASE account WHEN '' THEN 30 ELSE 5 END, CASE account WHEN '' THEN 60 ELSE 900 END)) AS allowed (free, longest)
$$;
