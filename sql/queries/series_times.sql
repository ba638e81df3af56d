-- The axis of a series: each interval that the days touch, in order, whatever happened in it.
--   $1 first day, $2 number of days, $3 hour, day, week or month, $4 zone; of series_zone $5 start, $6 end
-- Columns: key, start; both in microseconds.
-- An hour is one of UTC, so that a day of 23 or 25 hours has as many. Longer ones are counted on the calendar, and
-- their key is the local time. A day that a zone left out begins with the one after it, which stands for both.
WITH axis AS (
    SELECT at AT TIME ZONE 'UTC' AS key, at
    FROM generate_series($5::timestamptz, $6::timestamptz - interval '1 hour', interval '1 hour') AS at
    WHERE $3 = 'hour'
    UNION ALL
    SELECT step, CASE WHEN (at - interval '1 hour') AT TIME ZONE $4 = step THEN at - interval '1 hour' ELSE at END
    FROM generate_series(date_trunc($3, $1::date::timestamp), ($1::date + $2::int - 1)::timestamp,
                         CASE $3 WHEN 'day' THEN interval '1 day' WHEN 'week' THEN interval '7 days'
                                 ELSE interval '1 month' END) AS step,
         LATERAL (SELECT step AT TIME ZONE $4 AS at) AS midnight
    WHERE $3 <> 'hour'
)
SELECT DISTINCT ON (at) (extract(epoch FROM key) * 1000000)::bigint, (extract(epoch FROM at) * 1000000)::bigint
FROM axis
ORDER BY at, key DESC
