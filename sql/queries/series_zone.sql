-- Whether a zone's offset from UTC is a whole number of hours, at the start and at the end of a period and
-- at each of its days. An unknown zone is refused by PostgreSQL (22023).
--   $1 zone, $2 first day, $3 number of days
SELECT bool_and(extract(minute FROM (day AT TIME ZONE 'UTC') AT TIME ZONE $1) = 0)
FROM generate_series($2::date::timestamp, ($2::date + $3::int)::timestamp, interval '1 day') AS day
