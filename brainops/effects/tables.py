"""Table of the effect ledger."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, Uuid

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words

effects = Table(
    "effects",
    metadata,
    tenant_id(),
    Column("key", Text, primary_key=True),
    Column("plan_id", Uuid, nullable=False),
    words("workflow_id"),
    words("run_id"),
    Column("step", Integer, nullable=False),
    Column("service", Text, nullable=False),
    Column("action_class", Text, nullable=False),
    Column("undoing", Boolean, nullable=False),
    structure("action", nullable=False),
    Column("state", Text, nullable=False),
    structure("result"),
    now("begun_at"),
    instant("finished_at", nullable=True),
    CheckConstraint("state IN ('begun', 'done', 'failed')", name="state"),
    Index(None, "tenant_id", "plan_id", "step"),
)
