"""Table of the agents' mirrored state."""

from sqlalchemy import Boolean, Column, Integer, Table, Text

from brainops.database.schema import metadata, now, structure, tenant_id, words

agents = Table(
    "agents",
    metadata,
    tenant_id(),
    Column("name", Text, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("paused", Boolean, nullable=False),
    words("paused_reason"),
    Column("strategy_version", Integer, nullable=False),
    structure("state", nullable=False),
    now("updated_at"),
)
"""`state`: the whole `AgentState`; the columns before it are copies for people's queries."""
