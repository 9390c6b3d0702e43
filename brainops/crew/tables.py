"""Tables of the agents' mirrored state, and of the windows in which they let services be."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words

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

maintenance_windows = Table(
    "maintenance_windows",
    metadata,
    tenant_id(),
    Column("id", Uuid, primary_key=True),
    Column("services", ARRAY(Text), nullable=False),
    words("reason"),
    Column("opened_by", Text, nullable=False),
    Column("plan_id", Uuid),
    now("opened_at"),
    instant("ends_at"),
    instant("closed_at", nullable=True),
    Column("closed_by", Text),
    Index("maintenance_windows_open_idx", "tenant_id", "ends_at", postgresql_where=text("closed_at IS NULL")),
)
"""`services`: names or patterns over names; empty: all. `plan_id`: the plan that opened it, if one did."""
