-- An attempt succeeded: forget those of the account from there, and this one of all that came from there.
--   $1 hash of the account's address, $2 the address it comes from
WITH origin AS (
    SELECT CASE family($2::inet) WHEN 6 THEN network(set_masklen($2::inet, 64)) ELSE $2::inet END AS network
), cleared AS (
    DELETE FROM login_attempts a USING origin o WHERE a.account = $1::bytea AND a.network = o.network
)
UPDATE login_attempts a SET failures = a.failures - 1 FROM origin o
WHERE a.account = '' AND a.network = o.network AND a.failures > 0
