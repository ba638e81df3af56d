DROP TABLE schedules;
DROP TABLE job_runners;
DROP FUNCTION keep_job_days(int);
DROP TABLE jobs_done;
DROP TABLE jobs;
