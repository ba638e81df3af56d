-- Reports: what they show, each time that one was made, and the files.

-- In the order in which requests come to them.
LOCK TABLE users, workspaces IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE reports (
    workspace_id bigint NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    id           uuid NOT NULL UNIQUE,
    name         text NOT NULL,
    sections     text[] NOT NULL CHECK (cardinality(sections) > 0 AND sections <@ '{summary,by_type,costs,top_users,daily}'),
    range        text NOT NULL, -- days as in 30d, or a word
    format       text NOT NULL CHECK (format IN ('json', 'csv', 'html', 'pdf')),
    created_by   bigint REFERENCES users ON DELETE SET NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX reports_creator ON reports (created_by);

-- A run has all that it needs of its report, which may change meanwhile. Its job says whether somebody still works on it.
CREATE TABLE report_runs (
    workspace_id bigint NOT NULL,
    report_id    uuid NOT NULL,
    id           uuid NOT NULL,
    job_id       bigint NOT NULL,
    name         text NOT NULL,
    sections     text[] NOT NULL,
    format       text NOT NULL,
    first_day    date NOT NULL,
    days         int NOT NULL,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    error        text,
    size_bytes   bigint,
    sha256       bytea,
    created_by   bigint, -- whoever asked for it
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz
) PARTITION BY RANGE (created_at);
CREATE INDEX report_runs_id ON report_runs (workspace_id, id);
CREATE INDEX report_runs_report ON report_runs (workspace_id, report_id, created_at DESC);
CREATE INDEX report_runs_open ON report_runs (workspace_id) WHERE state IN ('queued', 'running');
CREATE TABLE report_runs_default PARTITION OF report_runs DEFAULT;

-- The files, in pieces that a process can hold.
CREATE TABLE report_files (
    workspace_id bigint NOT NULL,
    run_id       uuid NOT NULL,
    no           int NOT NULL,
    piece        bytea NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (made_at);
CREATE INDEX report_files_run ON report_files (workspace_id, run_id, no);
CREATE TABLE report_files_default PARTITION OF report_files DEFAULT;

SELECT keep_days('report_runs', 30), keep_days('report_files', 30);
