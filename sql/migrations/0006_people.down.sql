-- Second factors, tokens that were mailed and mails that were not sent are lost.
DROP TABLE login_attempts, recovery_codes, totp, mail_tokens, outbox;
DROP INDEX users_search;
DROP FUNCTION user_search(citext, text, text);
ALTER TABLE users DROP COLUMN email_verified_at;
DROP INDEX audit_log_subject, audit_log_action;
ALTER TABLE audit_log DROP COLUMN actor_grant;
