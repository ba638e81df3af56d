-- The axis of a series: the start of each interval that the days touch, in order, as microseconds.
--   $1 first day, $2 number of days, $3 hour, day, week or month, $4 zone
-- An hour is one of UTC, so that a day of 23 or 25 hours has as many; longer ones are counted on the calendar.
SELECT (extract(epoch FROM CASE $3 WHEN 'hour' THEN step AT TIME ZONE 'UTC' ELSE step AT TIME ZONE $4 END) * 1000000)::bigint
FROM generate_series(
    CASE $3 WHEN 'hour' THEN $1::date::timestamp AT TIME ZONE $4 AT TIME ZONE 'UTC'
            ELSE date_trunc($3, $1::date::timestamp) END,
    CASE $3 WHEN 'hour' THEN ($1::date + $2::int)::timestamp AT TIME ZONE $4 AT TIME ZONE 'UTC' - interval '1 hour'
            ELSE ($1::date + $2::int - 1)::timestamp END,
    CASE $3 WHEN 'hour' THEN interval '1 hour' WHEN 'day' THEN interval '1 day'
            WHEN 'week' THEN interval '7 days' ELSE interval '1 month' END) AS step
ORDER BY 1
