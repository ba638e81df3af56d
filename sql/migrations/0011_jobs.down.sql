DROP TABLE schedules;
DROP TABLE job_runners;
DROP FUNCTION keep_days(text, int);
DROP TABLE jobs_done;
DROP TABLE jobs;
