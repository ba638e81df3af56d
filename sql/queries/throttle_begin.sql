-- Count an attempt in advance, unless it must wait; returns for how many seconds, 0 when it may go on. What was tried last a day
-- ago is forgotten.
--   $1 hash of the account's address, $2 the address it comes from
-- An account has five attempts from one network, then each must wait twice as long as the one before, 15 minutes at the most. All
-- accounts together have thirty, and wait a minute at the most. An IPv6 network has 64 bits.
WITH origin AS (
    SELECT CASE family($2::inet) WHEN 6 THEN network(set_masklen($2::inet, 64)) ELSE $2::inet END AS network
), tried AS (
    SELECT $1::bytea AS account, network, 5 AS free, 900 AS longest FROM origin
    UNION ALL
    SELECT '', network, 30, 60 FROM origin
), due AS (
    SELECT coalesce(max(a.last_at + least(2 ^ least(a.failures - t.free, 20), t.longest) * interval '1 s' - now()), '0') AS wait
    FROM tried t JOIN login_attempts a USING (account, network)
    WHERE a.failures >= t.free AND a.last_at > now() - interval '1 day'
), counted AS (
    INSERT INTO login_attempts AS a (account, network, failures, last_at)
    SELECT account, network, 1, now() FROM tried, due WHERE wait <= '0' ORDER BY account
    ON CONFLICT (account, network) DO UPDATE
    SET failures = CASE WHEN a.last_at > now() - interval '1 day' THEN a.failures ELSE 0 END + 1, last_at = now()
)
SELECT ceil(extract(epoch FROM greatest(wait, '0')))::bigint FROM due
