"""Table of the messages to people: an outbox, and what was delivered."""

from sqlalchemy import Boolean, CheckConstraint, Column, Index, Integer, Table, Text, Uuid, text

from brainops.database.schema import instant, metadata, now, tenant_id, words

notices = Table(
    "notices",
    metadata,
    tenant_id(),
    Column("plan_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("closing", Boolean, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    words("held_because"),
    instant("due_at"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    words("last_error"),
    now("created_at"),
    instant("sent_at", nullable=True),
    Column("summarised", Boolean, nullable=False, server_default=text("false")),
    CheckConstraint("state IN ('pending', 'held', 'sent', 'failed', 'dropped')", name="state"),
    Index("notices_due_idx", "tenant_id", "due_at", postgresql_where=text("state IN ('pending', 'held')")),
    Index(None, "tenant_id", "channel", "sent_at"),
    Index(None, "tenant_id", "created_at"),
)
"""The key says what is told once: one message of a kind, about one incident, on one channel. `closing`: it tells the end
of what was told before. `held_because`: `maintenance`, `quiet` or `rate` while it is held. `summarised`: it was told as
part of a summary."""
