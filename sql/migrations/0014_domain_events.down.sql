DROP TABLE deliveries_done;
DROP TABLE deliveries;
DROP TABLE webhooks;
DROP TRIGGER users_administer ON users;
DROP FUNCTION follow_administrators();
DELETE FROM workspaces WHERE platform; -- its events are figures of the platform, and nobody's
ALTER TABLE workspaces DROP COLUMN platform, DROP COLUMN told_types;
DROP FUNCTION event_cloudevent(domain_events, text);
DROP FUNCTION event_envelope(domain_events);
DROP TABLE event_stream_groups;
DROP TABLE event_stream;
DROP TABLE event_relay;
DROP TABLE domain_events;
DROP TABLE event_outbox;
