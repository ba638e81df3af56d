-- In the order in which requests come to them.
LOCK TABLE users, outbox IN ACCESS EXCLUSIVE MODE;

-- Mails that are sent: each attempt takes a row for a while, so that none is held while a mail server is spoken to.
ALTER TABLE outbox ADD COLUMN attempts int NOT NULL DEFAULT 0,
                   ADD COLUMN next_at timestamptz,   -- not before; NULL: at once
                   ADD COLUMN error text,            -- of the last attempt
                   ADD COLUMN failed_at timestamptz; -- since when it is given up
CREATE INDEX outbox_due ON outbox (topic, next_at NULLS FIRST, id) WHERE done_at IS NULL AND failed_at IS NULL;
CREATE INDEX outbox_failed ON outbox (failed_at) WHERE failed_at IS NOT NULL;

-- Since when an address takes no mail, and what was said; until it is proven anew.
ALTER TABLE users ADD COLUMN email_bounced_at timestamptz, ADD COLUMN email_bounce text;
CREATE FUNCTION forget_bounce() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    NEW.email_bounced_at := NULL;
    NEW.email_bounce := NULL;
    RETURN NEW;
END
$$;
CREATE TRIGGER users_address_proven BEFORE UPDATE OF email, email_verified_at ON users
    FOR EACH ROW WHEN (OLD.email <> NEW.email OR OLD.email_verified_at IS DISTINCT FROM NEW.email_verified_at) EXECUTE FUNCTION forget_bounce();
