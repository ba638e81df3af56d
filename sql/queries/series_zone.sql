-- Whether the days of a period begin on whole hours of UTC in a zone, and where it begins and ends there. Where the
-- clock is set back to midnight, a day has two: it begins with the first. An unknown zone is refused by
-- PostgreSQL (22023).
--   $1 zone, $2 first day, $3 number of days
-- Columns: whether, start, end (the first moment after).
WITH midnights AS (
    SELECT day, day AT TIME ZONE $1 AS at
    FROM generate_series($2::date::timestamp, ($2::date + $3::int)::timestamp, interval '1 day') AS day
), starts AS (
    SELECT CASE WHEN (at - interval '1 hour') AT TIME ZONE $1 = day THEN at - interval '1 hour' ELSE at END AS at
    FROM midnights
)
SELECT bool_and(at = date_trunc('hour', at, 'UTC')), min(at)::text, max(at)::text
FROM starts
