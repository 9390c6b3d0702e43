"""The spine: services, checks, incidents, effects, memory of deeds; roles and row-level security.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_EXTENSION = "CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public"

_TABLES = """
CREATE TABLE agents (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    name text NOT NULL,
    enabled boolean NOT NULL,
    paused boolean NOT NULL,
    paused_reason text DEFAULT '' NOT NULL,
    strategy_version integer NOT NULL,
    state jsonb NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT agents_pkey PRIMARY KEY (tenant_id, name)
);

CREATE TABLE api_keys (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    secret_sha256 bytea NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (tenant_id, id)
);

CREATE TABLE approvals (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    plan_id uuid NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    service text NOT NULL,
    action_class text NOT NULL,
    question text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by text,
    reason text DEFAULT '' NOT NULL,
    CONSTRAINT approvals_pkey PRIMARY KEY (tenant_id, id)
);
CREATE INDEX approvals_pending_idx ON approvals (tenant_id) WHERE status = 'pending';
CREATE INDEX approvals_tenant_id_created_at_idx ON approvals (tenant_id, created_at);
CREATE INDEX approvals_tenant_id_plan_id_idx ON approvals (tenant_id, plan_id);

CREATE TABLE check_states (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    host text NOT NULL,
    status text NOT NULL,
    seq bigint NOT NULL,
    reason text DEFAULT '' NOT NULL,
    detail text DEFAULT '' NOT NULL,
    since timestamptz NOT NULL,
    latency_ms float8,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT check_states_pkey PRIMARY KEY (tenant_id, service, check_name)
);
CREATE INDEX check_states_tenant_id_host_status_idx ON check_states (tenant_id, host, status);

CREATE TABLE decision_logs (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    plan_id uuid NOT NULL,
    plan jsonb NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    agent text NOT NULL,
    decision text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    alternatives jsonb NOT NULL,
    context jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT decision_logs_pkey PRIMARY KEY (tenant_id, id)
);
CREATE INDEX decision_logs_tenant_id_plan_id_id_idx ON decision_logs (tenant_id, plan_id, id);

CREATE TABLE effects (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    key text NOT NULL,
    plan_id uuid NOT NULL,
    workflow_id text DEFAULT '' NOT NULL,
    run_id text DEFAULT '' NOT NULL,
    step integer NOT NULL,
    service text NOT NULL,
    action_class text NOT NULL,
    undoing boolean NOT NULL,
    action jsonb NOT NULL,
    state text NOT NULL,
    result jsonb,
    begun_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    finished_at timestamptz,
    CONSTRAINT effects_pkey PRIMARY KEY (tenant_id, key),
    CONSTRAINT effects_state_check CHECK (state IN ('begun', 'done', 'failed'))
);
CREATE INDEX effects_tenant_id_plan_id_step_idx ON effects (tenant_id, plan_id, step);

CREATE TABLE heartbeats (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    name text NOT NULL,
    at timestamptz NOT NULL,
    body jsonb,
    received_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT heartbeats_pkey PRIMARY KEY (tenant_id, name)
);

CREATE TABLE incidents (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    plan_id uuid NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    host text NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    seq bigint NOT NULL,
    observation jsonb NOT NULL,
    status text NOT NULL,
    signature text DEFAULT '' NOT NULL,
    signature_description text DEFAULT '' NOT NULL,
    headline text DEFAULT '' NOT NULL,
    cause text DEFAULT '' NOT NULL,
    remedy text DEFAULT '' NOT NULL,
    evidence jsonb,
    summary jsonb,
    root_plan uuid,
    dependents jsonb NOT NULL,
    model_calls integer DEFAULT 0 NOT NULL,
    opened_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    verified_at timestamptz,
    closed_at timestamptz,
    history_key text,
    CONSTRAINT incidents_pkey PRIMARY KEY (tenant_id, plan_id)
);
CREATE INDEX incidents_open_idx ON incidents (tenant_id, service) WHERE closed_at IS NULL;
CREATE INDEX incidents_tenant_id_opened_at_idx ON incidents (tenant_id, opened_at);
CREATE INDEX incidents_tenant_id_root_plan_idx ON incidents (tenant_id, root_plan);
CREATE INDEX incidents_tenant_id_service_check_name_seq_idx ON incidents (tenant_id, service, check_name, seq);
CREATE INDEX incidents_tenant_id_service_signature_opened_at_idx
    ON incidents (tenant_id, service, signature, opened_at);
CREATE INDEX incidents_unarchived_idx
    ON incidents (tenant_id, closed_at) WHERE closed_at IS NOT NULL AND history_key IS NULL;

CREATE TABLE knowledge_base (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    problem_signature text NOT NULL,
    problem_description text NOT NULL,
    solution text NOT NULL,
    remedy text NOT NULL,
    actions jsonb NOT NULL,
    success_rate float8 NOT NULL,
    usage_count integer NOT NULL,
    last_used timestamptz NOT NULL,
    plan_id uuid NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT knowledge_base_pkey PRIMARY KEY (tenant_id, problem_signature)
);
CREATE INDEX knowledge_base_tenant_id_last_used_idx ON knowledge_base (tenant_id, last_used);

CREATE TABLE known_good_files (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    object_key text NOT NULL,
    mode integer NOT NULL,
    size bigint NOT NULL,
    kept_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    process_started_at timestamptz,
    CONSTRAINT known_good_files_pkey PRIMARY KEY (tenant_id, service, path, sha256)
);

CREATE TABLE sample_hours (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    at timestamptz NOT NULL,
    probes integer NOT NULL,
    passed integer NOT NULL,
    latency_ms_mean float8 NOT NULL,
    latency_ms_max float8 NOT NULL,
    CONSTRAINT sample_hours_pkey PRIMARY KEY (tenant_id, service, check_name, at)
);
CREATE INDEX sample_hours_tenant_id_at_idx ON sample_hours (tenant_id, at);

CREATE TABLE sample_minutes (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    at timestamptz NOT NULL,
    probes integer NOT NULL,
    passed integer NOT NULL,
    latency_ms_mean float8 NOT NULL,
    latency_ms_max float8 NOT NULL,
    CONSTRAINT sample_minutes_pkey PRIMARY KEY (tenant_id, service, check_name, at)
);
CREATE INDEX sample_minutes_tenant_id_at_idx ON sample_minutes (tenant_id, at);

CREATE TABLE samples (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    at timestamptz NOT NULL,
    ok boolean NOT NULL,
    latency_ms float8 NOT NULL,
    CONSTRAINT samples_pkey PRIMARY KEY (tenant_id, service, check_name, at)
) PARTITION BY RANGE (at);
CREATE INDEX samples_at_idx ON samples USING brin (at);

CREATE TABLE services (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    kind text NOT NULL,
    paused boolean DEFAULT false NOT NULL,
    paused_reason text DEFAULT '' NOT NULL,
    autonomy jsonb NOT NULL,
    removed_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT services_pkey PRIMARY KEY (tenant_id, name)
);

CREATE TABLE work_history (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    task_id text NOT NULL,
    agent text NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    service text DEFAULT '' NOT NULL,
    input jsonb,
    output jsonb,
    success boolean NOT NULL,
    error_message text DEFAULT '' NOT NULL,
    duration_ms float8 NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    started_at timestamptz NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT work_history_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT work_history_tenant_id_key_key UNIQUE (tenant_id, key)
);
CREATE INDEX work_history_tenant_id_service_started_at_idx ON work_history (tenant_id, service, started_at);
CREATE INDEX work_history_tenant_id_started_at_idx ON work_history (tenant_id, started_at);

CREATE TABLE incident_events (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    plan_id uuid NOT NULL,
    workflow_id text DEFAULT '' NOT NULL,
    run_id text DEFAULT '' NOT NULL,
    status text NOT NULL,
    note text NOT NULL,
    at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT incident_events_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT incident_events_tenant_id_plan_id_fkey FOREIGN KEY (tenant_id, plan_id)
        REFERENCES incidents (tenant_id, plan_id)
);
CREATE INDEX incident_events_tenant_id_plan_id_id_idx ON incident_events (tenant_id, plan_id, id);

CREATE TABLE remediations (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    plan_id uuid NOT NULL,
    first_step integer NOT NULL,
    workflow_id text NOT NULL,
    run_id text NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    signature text NOT NULL,
    remedy text NOT NULL,
    action_class text NOT NULL,
    helped boolean NOT NULL,
    harmful boolean NOT NULL,
    undone boolean NOT NULL,
    cause text DEFAULT '' NOT NULL,
    summary text DEFAULT '' NOT NULL,
    verify_seconds float8 NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT remediations_pkey PRIMARY KEY (tenant_id, plan_id, first_step),
    CONSTRAINT remediations_tenant_id_plan_id_fkey FOREIGN KEY (tenant_id, plan_id)
        REFERENCES incidents (tenant_id, plan_id)
);
CREATE INDEX remediations_tenant_id_signature_remedy_idx ON remediations (tenant_id, signature, remedy);
"""

# Only these may the run-time login delete from: what was done and decided stays.
_DELETABLE = ("samples", "sample_minutes", "known_good_files")

_SECURITY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON {table}
    USING (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''));
GRANT SELECT, INSERT, UPDATE ON {table} TO brainops_app
"""

# A partition that is named directly is not covered by its parent's policy, so nobody but the owner may name one:
# the run-time login makes and drops partitions through these two functions only.
_PARTITIONS_MADE = """
CREATE FUNCTION make_sample_partitions(days date[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    day date;
    partition text;
    made integer := 0;
BEGIN
    FOREACH day IN ARRAY days LOOP
        partition := 'samples_' || to_char(day, 'YYYYMMDD');
        CONTINUE WHEN day NOT BETWEEN current_date - 400 AND current_date + 2
            OR to_regclass('brainops.' || partition) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(hashtext('brainops'), hashtext('sample partitions'));
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS brainops.%I PARTITION OF brainops.samples FOR VALUES FROM (%L) TO (%L)',
            partition, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00'
        );
        EXECUTE format('REVOKE ALL ON brainops.%I FROM PUBLIC, brainops_app', partition);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$
"""

# Only what is empty is dropped: each tenant deletes its own rows, by its own retention.
_PARTITIONS_DROPPED = """
CREATE FUNCTION drop_empty_sample_partitions() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    partition name;
    filled boolean;
    dropped integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('brainops'), hashtext('sample partitions'));
    FOR partition IN
        SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
        WHERE inhparent = 'brainops.samples'::regclass
            AND child.relname < 'samples_' || to_char(current_date - 1, 'YYYYMMDD')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM brainops.%I)', partition) INTO filled;
        IF NOT filled THEN
            EXECUTE format('DROP TABLE brainops.%I', partition);
            dropped := dropped + 1;
        END IF;
    END LOOP;
    RETURN dropped;
END
$$
"""

_FUNCTION_RIGHTS = """
REVOKE ALL ON FUNCTION make_sample_partitions(date[]), drop_empty_sample_partitions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_sample_partitions(date[]), drop_empty_sample_partitions() TO brainops_app;
GRANT USAGE ON SCHEMA brainops TO brainops_app;
GRANT SELECT ON alembic_version TO brainops_app
"""


def upgrade() -> None:
    """Make everything. The search path is the schema `brainops` (set by `env.py`)."""
    op.execute(_EXTENSION)
    _execute_each(_TABLES)
    for table in _table_names():
        _execute_each(_SECURITY.format(table=table))
    for table in _DELETABLE:
        op.execute(f"GRANT DELETE ON {table} TO brainops_app")
    op.execute(_PARTITIONS_MADE)
    op.execute(_PARTITIONS_DROPPED)
    _execute_each(_FUNCTION_RIGHTS)


def downgrade() -> None:
    """Not offered: the way back from the first migration is to drop the schema, by hand and knowingly."""
    raise NotImplementedError("drop the schema brainops by hand to remove everything that BrainOps keeps")


def _execute_each(statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)


def _table_names() -> list[str]:
    return [line.split()[2] for line in _TABLES.splitlines() if line.startswith("CREATE TABLE ")]
