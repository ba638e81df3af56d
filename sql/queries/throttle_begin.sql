-- Count an attempt in advance, unless it must wait (login_wait); returns for how many seconds, 0 when it may go on, and NULL when
-- another attempt came between: ask again. What was tried last a day ago is forgotten.
--   $1 hash of the account's address, $2 the address it comes from
-- An IPv6 network has 64 bits.
WITH origin AS (
    SELECT CASE family($2::inet) WHEN 6 THEN network(set_masklen($2::inet, 64)) ELSE $2::inet END AS network
), tried AS (
    SELECT $1::bytea AS account, network FROM origin
    UNION ALL
    SELECT '', network FROM origin
), due AS (
    SELECT coalesce(max(login_wait(a.account, a.failures, a.last_at)), '0') AS wait
    FROM tried t JOIN login_attempts a USING (account, network)
), counted AS ( -- each row as it is now: of many at once whose wait was over, one goes on
    INSERT INTO login_attempts AS a (account, network, failures, last_at)
    SELECT account, network, 1, now() FROM tried, due WHERE wait <= '0' ORDER BY account
    ON CONFLICT (account, network) DO UPDATE
    SET failures = CASE WHEN a.last_at > now() - interval '1 day' THEN a.failures ELSE 0 END + 1, last_at = now()
    WHERE login_wait(a.account, a.failures, a.last_at) <= '0'
    RETURNING 1
)
SELECT CASE WHEN wait > '0' THEN ceil(extract(epoch FROM wait))::bigint WHEN (SELECT count(*) FROM counted) = 2 THEN 0 END FROM due
