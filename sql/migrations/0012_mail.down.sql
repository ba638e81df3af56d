DROP TRIGGER users_address_proven ON users;
DROP FUNCTION forget_bounce();
ALTER TABLE users DROP COLUMN email_bounced_at, DROP COLUMN email_bounce;
DROP INDEX outbox_failed;
DROP INDEX outbox_due;
ALTER TABLE outbox DROP COLUMN attempts, DROP COLUMN next_at, DROP COLUMN error, DROP COLUMN failed_at;
