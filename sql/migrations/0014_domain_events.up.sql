-- What others must hear of: domain events, the workspace in which the platform measures itself, webhooks and their deliveries.

-- In the order in which requests come to them.
LOCK TABLE users, workspaces, memberships IN ACCESS EXCLUSIVE MODE;

-- An event is written in the transaction of its cause, and waits here for a tallygate-jobd to carry it on. Events of one subject come in the
-- order of their numbers, as each change of a subject holds its row; one of another subject may come late.
CREATE TABLE event_outbox (
    seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id             uuid NOT NULL,
    type           text NOT NULL,
    subject        text NOT NULL, -- kind:id
    workspace_id   bigint NOT NULL,
    platform       boolean NOT NULL, -- the platform's own administrators hear of it, whichever workspace's it is
    user_id        text, -- whom the platform counts it for
    data           jsonb NOT NULL,
    correlation_id text, -- the request's id
    trace          text, -- the request's traceparent
    at             timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Those that were carried on. `no` counts them in the order in which they were.
CREATE TABLE domain_events (
    workspace_id   bigint NOT NULL,
    at             timestamptz NOT NULL,
    id             uuid NOT NULL,
    no             bigint NOT NULL,
    type           text NOT NULL,
    subject        text NOT NULL,
    platform       boolean NOT NULL,
    data           jsonb NOT NULL,
    correlation_id text,
    trace          text,
    PRIMARY KEY (workspace_id, at, id)
) PARTITION BY RANGE (at);
CREATE INDEX domain_events_no ON domain_events (no);
CREATE TABLE domain_events_default PARTITION OF domain_events DEFAULT;
CREATE TABLE event_relay (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    last_no  bigint NOT NULL DEFAULT 0
);
INSERT INTO event_relay DEFAULT VALUES;

-- The stream in Redis: up to where it was sent, and what each group of its readers has confirmed.
CREATE TABLE event_stream (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    sent_no   bigint NOT NULL DEFAULT 0,
    run_id    text NOT NULL DEFAULT '', -- of the Redis that has it
    looked_at timestamptz NOT NULL DEFAULT '-infinity',
    reached   boolean NOT NULL DEFAULT true -- it was there then
);
INSERT INTO event_stream DEFAULT VALUES;
CREATE TABLE event_stream_groups (
    name         text PRIMARY KEY,
    confirmed_no bigint NOT NULL
);

-- An event as others see it. Its text is the same each time that it is sent.
CREATE FUNCTION event_envelope(e domain_events) RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_build_object('id', e.id, 'type', e.type, 'workspace_id', e.workspace_id, 'data', e.data,
                              'timestamp', to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                              'correlation_id', e.correlation_id)
$$;
-- The same by CloudEvents 1.0, in its JSON format.
CREATE FUNCTION event_cloudevent(e domain_events, issuer text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object('specversion', '1.0', 'id', e.id, 'source', issuer, 'type', 'tallygate.' || e.type,
                                                'subject', e.subject, 'datacontenttype', 'application/json',
                                                'time', to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                                                'workspaceid', e.workspace_id::text, 'correlationid', e.correlation_id, 'traceparent', e.trace))
           || jsonb_build_object('data', e.data)
$$;

-- Which usage events a workspace wants to be told as domain events.
ALTER TABLE workspaces ADD COLUMN told_types text[] NOT NULL DEFAULT '{}'
    CHECK (told_types <@ '{agent.executed,agent.failed,credit.consumed,integration.connected}');

-- The workspace of the platform itself. All administrators are members, and no one owns it.
ALTER TABLE workspaces ADD COLUMN platform boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX workspaces_platform ON workspaces (platform) WHERE platform;
INSERT INTO workspaces (name, slug, platform)
SELECT 'Tallygate', CASE WHEN EXISTS (SELECT FROM workspaces WHERE slug = 'tallygate') THEN NULL ELSE 'tallygate' END, true;
INSERT INTO memberships (workspace_id, user_id, role)
SELECT w.id, u.id, 'admin' FROM workspaces w, users u WHERE w.platform AND u.role = 'admin' AND u.is_active;

CREATE FUNCTION follow_administrators() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF NEW.role = 'admin' AND NEW.is_active THEN
        INSERT INTO memberships (workspace_id, user_id, role) SELECT id, NEW.id, 'admin' FROM workspaces WHERE platform
        ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = 'admin';
    ELSIF TG_OP = 'UPDATE' AND OLD.role = 'admin' THEN
        DELETE FROM memberships WHERE user_id = NEW.id AND workspace_id = (SELECT id FROM workspaces WHERE platform);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER users_administer AFTER INSERT OR UPDATE OF role, is_active ON users
    FOR EACH ROW EXECUTE FUNCTION follow_administrators();

-- Who wants to hear of events, and where. Secrets are sealed with the master secret, under the webhook's id; during a rotation the one of
-- before counts as well.
CREATE TABLE webhooks (
    workspace_id     bigint NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    id               uuid NOT NULL UNIQUE,
    url              text NOT NULL,
    description      text,
    event_types      text[] NOT NULL CHECK (cardinality(event_types) > 0),
    format           text NOT NULL DEFAULT 'standard' CHECK (format IN ('standard', 'cloudevents')),
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    state            text NOT NULL DEFAULT 'enabled' CHECK (state IN ('enabled', 'paused', 'disabled')),
    disabled_reason  text CHECK (disabled_reason IN ('gone', 'failing')),
    failing_since    timestamptz, -- the first failure after the last success
    slow             boolean NOT NULL DEFAULT false, -- the last attempts took long
    revision         bigint NOT NULL DEFAULT 0, -- what an attempt found does not count after a change
    created_by       bigint REFERENCES users ON DELETE SET NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX webhooks_creator ON webhooks (created_by);

-- An event on its way to a webhook. One that waits for an earlier one of the same subject is blocked. Little lives long here.
CREATE TABLE deliveries (
    workspace_id bigint NOT NULL,
    webhook_id   uuid NOT NULL,
    id           bigint GENERATED ALWAYS AS IDENTITY,
    event_of     bigint NOT NULL, -- the event's workspace
    event_at     timestamptz NOT NULL,
    event_id     uuid NOT NULL,
    type         text NOT NULL,
    subject      text NOT NULL,
    blocked      boolean NOT NULL DEFAULT false,
    attempts     int NOT NULL DEFAULT 0, -- that began
    next_at      timestamptz NOT NULL DEFAULT now(), -- not before
    history      jsonb NOT NULL DEFAULT '[]', -- what became of each attempt
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, webhook_id, id),
    FOREIGN KEY (workspace_id, webhook_id) REFERENCES webhooks ON DELETE CASCADE
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_at, id) WHERE NOT blocked;
CREATE INDEX deliveries_subject ON deliveries (webhook_id, subject, id);

CREATE TABLE deliveries_done (
    workspace_id bigint NOT NULL,
    webhook_id   uuid NOT NULL,
    id           bigint NOT NULL,
    event_of     bigint NOT NULL,
    event_at     timestamptz NOT NULL,
    event_id     uuid NOT NULL,
    type         text NOT NULL,
    subject      text NOT NULL,
    state        text NOT NULL CHECK (state IN ('delivered', 'failed')),
    attempts     int NOT NULL,
    history      jsonb NOT NULL,
    created_at   timestamptz NOT NULL,
    finished_at  timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (finished_at);
CREATE INDEX deliveries_done_id ON deliveries_done (workspace_id, webhook_id, id);
CREATE INDEX deliveries_done_failed ON deliveries_done (workspace_id, webhook_id, id) WHERE state = 'failed';
CREATE TABLE deliveries_done_default PARTITION OF deliveries_done DEFAULT;

SELECT keep_days('domain_events', 30), keep_days('deliveries_done', 30);
