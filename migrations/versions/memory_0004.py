"""The memory tiers: working, sessions and messages, persistent, semantic, episodic, aggregate; work, todos, proposals.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE working_memory (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    agent text NOT NULL,
    session_id text NOT NULL,
    key text NOT NULL,
    value jsonb NOT NULL,
    bytes integer NOT NULL,
    expires_at timestamptz NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT working_memory_pkey PRIMARY KEY (tenant_id, agent, session_id, key)
);
CREATE INDEX working_memory_tenant_id_expires_at_idx ON working_memory (tenant_id, expires_at);

CREATE TABLE sessions (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id text NOT NULL,
    agent text DEFAULT '' NOT NULL,
    scope text NOT NULL,
    owner text DEFAULT '' NOT NULL,
    title text DEFAULT '' NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    last_seq integer DEFAULT 0 NOT NULL,
    understood integer DEFAULT 0 NOT NULL,
    redacted integer DEFAULT 0 NOT NULL,
    tokens_before bigint DEFAULT 0 NOT NULL,
    tokens_after bigint DEFAULT 0 NOT NULL,
    started_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    ended_at timestamptz,
    archived_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (tenant_id, id)
);
CREATE INDEX sessions_tenant_id_last_at_idx ON sessions (tenant_id, last_at);
CREATE INDEX sessions_unread_idx ON sessions (tenant_id, last_at) WHERE last_seq > understood AND archived_at IS NULL;
CREATE INDEX sessions_tenant_id_scope_last_at_idx ON sessions (tenant_id, scope, last_at);

CREATE TABLE messages (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    session_id text NOT NULL,
    seq integer NOT NULL,
    id uuid NOT NULL,
    role text NOT NULL,
    author text DEFAULT '' NOT NULL,
    parts jsonb NOT NULL,
    status text DEFAULT 'complete' NOT NULL,
    from_memory boolean DEFAULT false NOT NULL,
    at timestamptz NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (tenant_id, session_id, seq),
    CONSTRAINT messages_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT messages_status_check CHECK (status IN ('streaming', 'complete', 'interrupted'))
);
CREATE INDEX messages_streaming_idx ON messages (tenant_id, created_at) WHERE status = 'streaming';

CREATE TABLE message_deltas (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    message_id uuid NOT NULL,
    characters integer NOT NULL,
    text text NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT message_deltas_pkey PRIMARY KEY (tenant_id, message_id, characters)
);

CREATE TABLE persistent_memory (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    type text DEFAULT 'fact' NOT NULL,
    scopes text[] NOT NULL,
    owner text DEFAULT '' NOT NULL,
    name text DEFAULT '' NOT NULL,
    aliases text[] DEFAULT '{}'::text[] NOT NULL,
    content text NOT NULL,
    why text DEFAULT '' NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL,
    importance float8 NOT NULL,
    confidence float8 NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    pinned boolean DEFAULT false NOT NULL,
    content_hash bytea NOT NULL,
    at timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz,
    expires_at timestamptz,
    resolved_at timestamptz,
    superseded_by uuid,
    provenance jsonb DEFAULT '{}'::jsonb NOT NULL,
    source_session text DEFAULT '' NOT NULL,
    reinforced integer DEFAULT 0 NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT persistent_memory_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT persistent_memory_kind_check CHECK (kind IN ('system_state', 'task', 'knowledge', 'error')),
    CONSTRAINT persistent_memory_validity_check CHECK (valid_to IS NULL OR valid_to >= valid_from)
);
CREATE UNIQUE INDEX persistent_memory_content_key ON persistent_memory (tenant_id, owner, scopes, content_hash) WHERE valid_to IS NULL;
CREATE INDEX persistent_memory_kept_idx ON persistent_memory (tenant_id, valid_to, updated_at);
CREATE INDEX persistent_memory_pinned_idx ON persistent_memory (tenant_id, type) WHERE pinned AND valid_to IS NULL;
CREATE INDEX persistent_memory_scopes_idx ON persistent_memory USING gin (scopes);
CREATE INDEX persistent_memory_tenant_id_source_session_idx ON persistent_memory (tenant_id, source_session);

CREATE TABLE memory_chunks (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    source_id uuid NOT NULL,
    position smallint NOT NULL,
    source text NOT NULL,
    kind text NOT NULL,
    scopes text[] NOT NULL,
    owner text DEFAULT '' NOT NULL,
    session_id text DEFAULT '' NOT NULL,
    seq integer DEFAULT 0 NOT NULL,
    at timestamptz NOT NULL,
    valid_from timestamptz,
    valid_to timestamptz,
    asks boolean DEFAULT false NOT NULL,
    importance float8 DEFAULT 0.5 NOT NULL,
    first integer NOT NULL,
    last integer NOT NULL,
    terms text NOT NULL,
    embedding public.halfvec,
    embedding_model text DEFAULT '' NOT NULL,
    agent text DEFAULT '' NOT NULL,
    task_type text DEFAULT '' NOT NULL,
    outcome text DEFAULT '' NOT NULL,
    provider text DEFAULT '' NOT NULL,
    cost float8,
    removed boolean DEFAULT false NOT NULL,
    changed bigint DEFAULT (pg_current_xact_id()::text)::bigint NOT NULL,
    CONSTRAINT memory_chunks_pkey PRIMARY KEY (tenant_id, source_id, position),
    CONSTRAINT memory_chunks_source_check CHECK (source IN ('message', 'memory'))
) PARTITION BY LIST (tenant_id);
CREATE INDEX memory_chunks_tenant_id_changed_idx ON memory_chunks (tenant_id, changed);
CREATE INDEX memory_chunks_unembedded_idx ON memory_chunks (tenant_id, changed) WHERE embedding IS NULL AND NOT removed;

CREATE TABLE memory_outbox (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    source text NOT NULL,
    source_id uuid NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    problem text DEFAULT '' NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT memory_outbox_pkey PRIMARY KEY (tenant_id, id)
);

CREATE TABLE context_snapshots (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    session_id text NOT NULL,
    scope text NOT NULL,
    timestamp timestamptz NOT NULL,
    context_type text NOT NULL,
    context_data jsonb NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    importance float8 NOT NULL,
    expires_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT context_snapshots_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT context_snapshots_context_type_check CHECK (context_type IN ('task', 'system', 'error', 'decision'))
);
CREATE INDEX context_snapshots_tenant_id_scope_timestamp_idx ON context_snapshots (tenant_id, scope, timestamp);
CREATE INDEX context_snapshots_tenant_id_session_id_timestamp_idx ON context_snapshots (tenant_id, session_id, timestamp);

CREATE TABLE artifacts (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    key text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    media_type text NOT NULL,
    session_id text DEFAULT '' NOT NULL,
    message_id uuid,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT artifacts_pkey PRIMARY KEY (tenant_id, key)
);
CREATE INDEX artifacts_tenant_id_message_id_idx ON artifacts (tenant_id, message_id);
CREATE INDEX artifacts_tenant_id_session_id_idx ON artifacts (tenant_id, session_id);

CREATE TABLE episodes (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    agent text DEFAULT '' NOT NULL,
    day date NOT NULL,
    session_id text NOT NULL,
    scope text DEFAULT '' NOT NULL,
    key text NOT NULL,
    sha256 text NOT NULL,
    bytes bigint NOT NULL,
    first_seq integer DEFAULT 1 NOT NULL,
    messages integer NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    artifacts text[] DEFAULT '{}'::text[] NOT NULL,
    ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT episodes_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT episodes_tenant_id_key_key UNIQUE (tenant_id, key)
);
CREATE INDEX episodes_tenant_id_expires_at_idx ON episodes (tenant_id, expires_at);
CREATE INDEX episodes_tenant_id_session_id_idx ON episodes (tenant_id, session_id);

CREATE TABLE retention_receipts (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    action text NOT NULL,
    reason text DEFAULT '' NOT NULL,
    counts jsonb DEFAULT '{}'::jsonb NOT NULL,
    sha256 text DEFAULT '' NOT NULL,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT retention_receipts_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT retention_receipts_action_check CHECK (action IN ('archive', 'purge', 'forget'))
);
CREATE INDEX retention_receipts_tenant_id_created_at_idx ON retention_receipts (tenant_id, created_at);

CREATE TABLE todos (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    scope text NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    progress smallint NOT NULL,
    blocker text DEFAULT '' NOT NULL,
    importance float8 NOT NULL,
    session_id text DEFAULT '' NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    done_at timestamptz,
    CONSTRAINT todos_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT todos_status_check CHECK (status IN ('open', 'in_progress', 'blocked', 'done', 'dropped'))
);
CREATE INDEX todos_open_idx ON todos (tenant_id, scope) WHERE done_at IS NULL;
CREATE INDEX todos_tenant_id_updated_at_idx ON todos (tenant_id, updated_at);

CREATE TABLE work_items (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    scope text NOT NULL,
    description text NOT NULL,
    state text NOT NULL,
    claimed_by text DEFAULT '' NOT NULL,
    claimed_at timestamptz NOT NULL,
    lease_until timestamptz,
    done_at timestamptz,
    outcome text DEFAULT '' NOT NULL,
    session_id text DEFAULT '' NOT NULL,
    told boolean DEFAULT false NOT NULL,
    context text DEFAULT '' NOT NULL,
    sure float8 DEFAULT 1 NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT work_items_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT work_items_state_check CHECK (state IN ('claimed', 'done', 'released', 'open', 'planned', 'waiting', 'reverted'))
);
CREATE INDEX work_items_tenant_id_scope_updated_at_idx ON work_items (tenant_id, scope, updated_at);

CREATE TABLE proposals (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id uuid NOT NULL,
    key text NOT NULL,
    kind text NOT NULL,
    what text NOT NULL,
    why text NOT NULL,
    evidence jsonb DEFAULT '{}'::jsonb NOT NULL,
    expected_effect text NOT NULL,
    change jsonb DEFAULT '{}'::jsonb NOT NULL,
    status text NOT NULL,
    measured jsonb DEFAULT '{}'::jsonb NOT NULL,
    decided_by text DEFAULT '' NOT NULL,
    reason text DEFAULT '' NOT NULL,
    decided_at timestamptz,
    created_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT proposals_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT proposals_tenant_id_key_key UNIQUE (tenant_id, key),
    CONSTRAINT proposals_status_check CHECK (status IN ('open', 'accepted', 'rejected', 'withdrawn'))
);
CREATE INDEX proposals_tenant_id_status_created_at_idx ON proposals (tenant_id, status, created_at);

CREATE TABLE agent_memory (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    agent text NOT NULL,
    total_interactions bigint DEFAULT 0 NOT NULL,
    success_rate float8,
    average_cost float8,
    preferred_models jsonb DEFAULT '{}'::jsonb NOT NULL,
    learned_patterns jsonb DEFAULT '{}'::jsonb NOT NULL,
    evolution_history jsonb DEFAULT '[]'::jsonb NOT NULL,
    folded jsonb DEFAULT '{}'::jsonb NOT NULL,
    updated_at timestamptz DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT agent_memory_pkey PRIMARY KEY (tenant_id, agent)
);

CREATE TABLE agent_performance (
    tenant_id text DEFAULT current_setting('brainops.tenant_id') NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    key text NOT NULL,
    agent text NOT NULL,
    task_type text NOT NULL,
    provider text DEFAULT '' NOT NULL,
    success boolean NOT NULL,
    response_time_ms float8,
    cost float8,
    quality_score float8,
    at timestamptz NOT NULL,
    CONSTRAINT agent_performance_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT agent_performance_tenant_id_key_key UNIQUE (tenant_id, key)
);
CREATE INDEX agent_performance_tenant_id_agent_at_idx ON agent_performance (tenant_id, agent, at);
"""

# What people may have forgotten, and what ends by its time. Receipts stay.
_DELETABLE = (
    "working_memory", "sessions", "messages", "message_deltas", "persistent_memory", "memory_chunks", "memory_outbox",
    "context_snapshots", "artifacts", "episodes", "todos", "work_items", "agent_performance",
)  # fmt: skip

_SECURITY = """
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON {table}
    USING (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''))
    WITH CHECK (tenant_id = nullif(current_setting('brainops.tenant_id', true), ''));
GRANT SELECT, INSERT, UPDATE ON {table} TO brainops_app
"""

# A partition that is named directly is not covered by its parent's policy, so nobody but the owner may name one:
# the run-time login makes that of its tenant through this function only.
_PARTITION = """
CREATE FUNCTION make_memory_partition() RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    tenant text := nullif(current_setting('brainops.tenant_id', true), '');
    partition text := 'memory_chunks_' || substr(md5(tenant), 1, 16);
BEGIN
    IF tenant IS NULL THEN
        RAISE EXCEPTION 'no tenant is set' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF to_regclass('brainops.' || partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('brainops'), hashtext('memory partitions'));
    EXECUTE format('CREATE TABLE IF NOT EXISTS brainops.%I PARTITION OF brainops.memory_chunks FOR VALUES IN (%L)',
        partition, tenant);
    EXECUTE format('REVOKE ALL ON brainops.%I FROM PUBLIC, brainops_app', partition);
    RETURN true;
END
$$
"""

_FUNCTION_RIGHTS = """
REVOKE ALL ON FUNCTION make_memory_partition() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_memory_partition() TO brainops_app
"""


def upgrade() -> None:
    """Make the tables; nothing that exists is changed."""
    _execute_each(_TABLES)
    for table in _table_names():
        _execute_each(_SECURITY.format(table=table))
    for table in _DELETABLE:
        op.execute(f"GRANT DELETE ON {table} TO brainops_app")
    op.execute(_PARTITION)
    _execute_each(_FUNCTION_RIGHTS)


def downgrade() -> None:
    """Not offered: it would delete what is remembered."""
    raise NotImplementedError("restore a backup from before the upgrade to go back")


def _execute_each(statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)


def _table_names() -> list[str]:
    return [line.split()[2] for line in _TABLES.splitlines() if line.startswith("CREATE TABLE ")]
