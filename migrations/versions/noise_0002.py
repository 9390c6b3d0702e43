"""Noise: maintenance windows, alerts that are part of an incident, messages to people.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE maintenance_windows (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    services text[] NOT NULL,
    reason text DEFAULT '' NOT NULL,
    opened_by text NOT NULL,
    plan_id uuid,
    opened_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    ends_at timestamptz NOT NULL,
    closed_at timestamptz,
    closed_by text,
    CONSTRAINT maintenance_windows_pkey PRIMARY KEY (tenant_id, id)
);
CREATE INDEX maintenance_windows_open_idx ON maintenance_windows (tenant_id, ends_at) WHERE closed_at IS NULL;

CREATE TABLE notices (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    plan_id uuid NOT NULL,
    kind text NOT NULL,
    channel text NOT NULL,
    service text NOT NULL,
    severity text NOT NULL,
    closing boolean NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    state text NOT NULL,
    held_because text DEFAULT '' NOT NULL,
    due_at timestamptz NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    last_error text DEFAULT '' NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    sent_at timestamptz,
    summarised boolean DEFAULT false NOT NULL,
    CONSTRAINT notices_pkey PRIMARY KEY (tenant_id, plan_id, kind, channel),
    CONSTRAINT notices_state_check CHECK (state IN ('pending', 'held', 'sent', 'failed', 'dropped'))
);
CREATE INDEX notices_due_idx ON notices (tenant_id, due_at) WHERE state IN ('pending', 'held');
CREATE INDEX notices_tenant_id_channel_sent_at_idx ON notices (tenant_id, channel, sent_at);
CREATE INDEX notices_tenant_id_created_at_idx ON notices (tenant_id, created_at);

CREATE TABLE incident_alerts (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    service text NOT NULL,
    check_name text NOT NULL,
    seq bigint NOT NULL,
    plan_id uuid NOT NULL,
    host text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    detail text DEFAULT '' NOT NULL,
    since timestamptz NOT NULL,
    resolved_at timestamptz,
    CONSTRAINT incident_alerts_pkey PRIMARY KEY (tenant_id, service, check_name, seq),
    CONSTRAINT incident_alerts_tenant_id_plan_id_fkey FOREIGN KEY (tenant_id, plan_id)
        REFERENCES incidents (tenant_id, plan_id)
);
CREATE INDEX incident_alerts_tenant_id_plan_id_idx ON incident_alerts (tenant_id, plan_id);
CREATE INDEX incident_alerts_unresolved_idx ON incident_alerts (tenant_id, host) WHERE resolved_at IS NULL;
"""

_SECURITY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON {table}
    USING (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''));
GRANT SELECT, INSERT, UPDATE ON {table} TO brainops_app
"""

_NAMES = ("maintenance_windows", "notices", "incident_alerts")


def upgrade() -> None:
    """Make the tables."""
    _execute_each(_TABLES)
    for table in _NAMES:
        _execute_each(_SECURITY.format(table=table))


def downgrade() -> None:
    """Remove the tables."""
    for table in reversed(_NAMES):
        op.execute(f"DROP TABLE {table}")


def _execute_each(statements: str) -> None:
    for statement in statements.split(";"):
        if statement.strip():
            op.execute(statement)
