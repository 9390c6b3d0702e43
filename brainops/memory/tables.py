"""Tables of what was done, what was decided and why, and what helped."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import text as sql

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words

knowledge_base = Table(
    "knowledge_base",
    metadata,
    tenant_id(),
    Column("problem_signature", Text, primary_key=True),
    Column("problem_description", Text, nullable=False),
    Column("solution", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    structure("actions", nullable=False),
    Column("success_rate", Double, nullable=False),
    Column("usage_count", Integer, nullable=False),
    instant("last_used"),
    Column("plan_id", Uuid, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    now("created_at"),
    Index(None, "tenant_id", "last_used"),
)

work_history = Table(
    "work_history",
    metadata,
    tenant_id(),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    words("service"),
    structure("input"),
    structure("output"),
    Column("success", Boolean, nullable=False),
    words("error_message"),
    Column("duration_ms", Double, nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    instant("started_at"),
    now("created_at"),
    UniqueConstraint("tenant_id", "key"),
    Index(None, "tenant_id", "started_at"),
    Index(None, "tenant_id", "service", "started_at"),
)

decision_logs = Table(
    "decision_logs",
    metadata,
    tenant_id(),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("plan_id", Uuid, nullable=False),
    structure("plan", nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("decision", Text, nullable=False),
    words("reason"),
    structure("alternatives", nullable=False),
    Column("context", structure("context").type, nullable=False, server_default=sql("'{}'::jsonb")),
    now("created_at"),
    Index(None, "tenant_id", "plan_id", "id"),
)
