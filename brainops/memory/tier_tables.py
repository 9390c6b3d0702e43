"""Tables of the memory tiers; migration 0004 makes them."""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words


def _key() -> Column[object]:
    return Column("id", Uuid, primary_key=True)


def _list(name: str) -> Column[object]:
    return Column(name, ARRAY(Text), nullable=False, server_default=sql("'{}'::text[]"))


def _object(name: str) -> Column[object]:
    return Column(name, structure(name).type, nullable=False, server_default=sql("'{}'::jsonb"))


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=sql("0"))


working_memory = Table(
    "working_memory",
    metadata,
    tenant_id(),
    Column("agent", Text, primary_key=True),
    Column("session_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    structure("value", nullable=False),
    Column("bytes", Integer, nullable=False),
    instant("expires_at"),
    now("updated_at"),
    Index(None, "tenant_id", "expires_at"),
)

sessions = Table(
    "sessions",
    metadata,
    tenant_id(),
    Column("id", Text, primary_key=True),
    words("agent"),
    Column("scope", Text, nullable=False),
    words("owner"),
    words("title"),
    _object("metadata"),
    Column("last_seq", Integer, nullable=False, server_default=sql("0")),
    _count("understood"),
    _count("redacted"),
    Column("tokens_before", BigInteger, nullable=False, server_default=sql("0")),
    Column("tokens_after", BigInteger, nullable=False, server_default=sql("0")),
    instant("started_at"),
    instant("last_at"),
    instant("ended_at", nullable=True),
    instant("archived_at", nullable=True),
    now("created_at"),
    now("updated_at"),
    Index(None, "tenant_id", "scope", "last_at"),
    Index(None, "tenant_id", "last_at"),
    Index(
        "sessions_unread_idx",
        "tenant_id",
        "last_at",
        postgresql_where=sql("last_seq > understood AND archived_at IS NULL"),
    ),
)

messages = Table(
    "messages",
    metadata,
    tenant_id(),
    Column("session_id", Text, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("role", Text, nullable=False),
    words("author"),
    structure("parts", nullable=False),
    Column("status", Text, nullable=False, server_default=sql("'complete'")),
    Column("from_memory", Boolean, nullable=False, server_default=sql("false")),
    instant("at"),
    now("created_at"),
    UniqueConstraint("tenant_id", "id"),
    CheckConstraint("status IN ('streaming', 'complete', 'interrupted')", name="status"),
    Index("messages_streaming_idx", "tenant_id", "created_at", postgresql_where=sql("status = 'streaming'")),
)

message_deltas = Table(
    "message_deltas",
    metadata,
    tenant_id(),
    Column("message_id", Uuid, primary_key=True),
    Column("characters", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    now("created_at"),
)
"""Partial text: `characters` is how many had been told when it was saved, with it."""

persistent_memory = Table(
    "persistent_memory",
    metadata,
    tenant_id(),
    _key(),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False, server_default=sql("'fact'")),
    Column("scopes", ARRAY(Text), nullable=False),
    words("owner"),
    words("name"),
    _list("aliases"),
    Column("content", Text, nullable=False),
    words("why"),
    _object("data"),
    Column("importance", Double, nullable=False),
    Column("confidence", Double, nullable=False),
    _list("tags"),
    Column("pinned", Boolean, nullable=False, server_default=sql("false")),
    Column("content_hash", LargeBinary, nullable=False),
    instant("at"),
    instant("valid_from"),
    instant("valid_to", nullable=True),
    instant("expires_at", nullable=True),
    instant("resolved_at", nullable=True),
    Column("superseded_by", Uuid),
    _object("provenance"),
    words("source_session"),
    _count("reinforced"),
    now("created_at"),
    now("updated_at"),
    CheckConstraint("kind IN ('system_state', 'task', 'knowledge', 'error')", name="kind"),
    CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="validity"),
    # One current row of a content: what is told again reinforces it.
    Index(
        "persistent_memory_content_key",
        "tenant_id",
        "owner",
        "scopes",
        "content_hash",
        unique=True,
        postgresql_where=sql("valid_to IS NULL"),
    ),
    Index(None, "scopes", postgresql_using="gin"),
    Index("persistent_memory_kept_idx", "tenant_id", "valid_to", "updated_at"),
    Index(None, "tenant_id", "source_session"),
    Index("persistent_memory_pinned_idx", "tenant_id", "type", postgresql_where=sql("pinned AND valid_to IS NULL")),
)

memory_chunks = Table(
    "memory_chunks",
    metadata,
    tenant_id(),
    Column("source_id", Uuid, primary_key=True),
    Column("position", SmallInteger, primary_key=True),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    words("owner"),
    words("session_id"),
    _count("seq"),
    instant("at"),
    instant("valid_from", nullable=True),
    instant("valid_to", nullable=True),
    Column("asks", Boolean, nullable=False, server_default=sql("false")),
    Column("importance", Double, nullable=False, server_default=sql("0.5")),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("terms", Text, nullable=False),
    Column("embedding", HALFVEC()),
    words("embedding_model"),
    words("agent"),
    words("task_type"),
    words("outcome"),
    words("provider"),
    Column("cost", Double),
    Column("removed", Boolean, nullable=False, server_default=sql("false")),
    Column("changed", BigInteger, nullable=False, server_default=sql("(pg_current_xact_id()::text)::bigint")),
    CheckConstraint("source IN ('message', 'memory')", name="source"),
    Index(None, "tenant_id", "changed"),
    Index(
        "memory_chunks_unembedded_idx",
        "tenant_id",
        "changed",
        postgresql_where=sql("embedding IS NULL AND NOT removed"),
    ),
    postgresql_partition_by="LIST (tenant_id)",
)
"""Passages of what is kept, `first` to `last` in characters of its text, with postings and vector; one partition a tenant.

`terms`: the stemmed words, separated by spaces, in order: the postings. `changed`: the transaction that wrote it last, by which an index catches up. `removed`: a tombstone,
until every index has seen it.
"""

memory_outbox = Table(
    "memory_outbox",
    metadata,
    tenant_id(),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("source", Text, nullable=False),
    Column("source_id", Uuid, nullable=False),
    _count("attempts"),
    words("problem"),
    now("created_at"),
)
"""What the index has still to read, in the order in which it was written."""

context_snapshots = Table(
    "context_snapshots",
    metadata,
    tenant_id(),
    _key(),
    Column("session_id", Text, nullable=False),
    Column("scope", Text, nullable=False),
    instant("timestamp"),
    Column("context_type", Text, nullable=False),
    structure("context_data", nullable=False),
    _list("tags"),
    Column("importance", Double, nullable=False),
    instant("expires_at", nullable=True),
    now("created_at"),
    CheckConstraint("context_type IN ('task', 'system', 'error', 'decision')", name="context_type"),
    Index(None, "tenant_id", "scope", "timestamp"),
    Index(None, "tenant_id", "session_id", "timestamp"),
)

artifacts = Table(
    "artifacts",
    metadata,
    tenant_id(),
    Column("key", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("media_type", Text, nullable=False),
    words("session_id"),
    Column("message_id", Uuid),
    now("created_at"),
    Index(None, "tenant_id", "session_id"),
    Index(None, "tenant_id", "message_id"),
)

episodes = Table(
    "episodes",
    metadata,
    tenant_id(),
    _key(),
    words("agent"),
    Column("day", Date, nullable=False),
    Column("session_id", Text, nullable=False),
    words("scope"),
    Column("key", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("first_seq", Integer, nullable=False, server_default=sql("1")),
    Column("messages", Integer, nullable=False),
    _list("tags"),
    _list("artifacts"),
    Column("ids", ARRAY(Uuid), nullable=False, server_default=sql("'{}'::uuid[]")),
    instant("first_at"),
    instant("last_at"),
    instant("expires_at"),
    now("created_at"),
    UniqueConstraint("tenant_id", "key"),
    Index(None, "tenant_id", "session_id"),
    Index(None, "tenant_id", "expires_at"),
)
"""`first_seq` and `messages`: which part of its session it is. `artifacts`: keys of what its messages refer to.
`ids`: of its messages, in order, so that one that comes again is known."""

retention_receipts = Table(
    "retention_receipts",
    metadata,
    tenant_id(),
    _key(),
    Column("action", Text, nullable=False),
    words("reason"),
    _object("counts"),
    words("sha256"),
    now("created_at"),
    CheckConstraint("action IN ('archive', 'purge', 'forget')", name="action"),
    Index(None, "tenant_id", "created_at"),
)
"""What was archived, purged or forgotten: counts, and the hash of the sorted ids; nothing of the content."""

todos = Table(
    "todos",
    metadata,
    tenant_id(),
    _key(),
    Column("scope", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("progress", SmallInteger, nullable=False),
    words("blocker"),
    Column("importance", Double, nullable=False),
    words("session_id"),
    instant("created_at"),
    instant("updated_at"),
    instant("done_at", nullable=True),
    CheckConstraint("status IN ('open', 'in_progress', 'blocked', 'done', 'dropped')", name="status"),
    Index("todos_open_idx", "tenant_id", "scope", postgresql_where=sql("done_at IS NULL")),
    Index(None, "tenant_id", "updated_at"),
)

work_items = Table(
    "work_items",
    metadata,
    tenant_id(),
    _key(),
    Column("scope", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", Text, nullable=False),
    words("claimed_by"),
    instant("claimed_at"),
    instant("lease_until", nullable=True),
    instant("done_at", nullable=True),
    words("outcome"),
    words("session_id"),
    Column("told", Boolean, nullable=False, server_default=sql("false")),
    words("context"),
    Column("sure", Double, nullable=False, server_default=sql("1")),
    now("updated_at"),
    CheckConstraint("state IN ('claimed', 'done', 'released', 'open', 'planned', 'waiting', 'reverted')", name="state"),
    Index(None, "tenant_id", "scope", "updated_at"),
)
"""`told`: a sentence of a session that gives work a state, with the `context` in which it stood; otherwise a claim."""

proposals = Table(
    "proposals",
    metadata,
    tenant_id(),
    _key(),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("why", Text, nullable=False),
    _object("evidence"),
    Column("expected_effect", Text, nullable=False),
    _object("change"),
    Column("status", Text, nullable=False),
    _object("measured"),
    words("decided_by"),
    words("reason"),
    instant("decided_at", nullable=True),
    now("created_at"),
    now("updated_at"),
    UniqueConstraint("tenant_id", "key"),
    CheckConstraint("status IN ('open', 'accepted', 'rejected', 'withdrawn')", name="status"),
    Index(None, "tenant_id", "status", "created_at"),
)
"""`key`: what it is about, so that the same proposal is made once. `change`: what is done when it is accepted."""

agent_memory = Table(
    "agent_memory",
    metadata,
    tenant_id(),
    Column("agent", Text, primary_key=True),
    Column("total_interactions", BigInteger, nullable=False, server_default=sql("0")),
    Column("success_rate", Double),
    Column("average_cost", Double),
    _object("preferred_models"),
    _object("learned_patterns"),
    Column("evolution_history", structure("evolution_history").type, nullable=False, server_default=sql("'[]'::jsonb")),
    _object("folded"),
    now("updated_at"),
)
"""`folded`: what was counted of the rows of `agent_performance` that were purged since."""

agent_performance = Table(
    "agent_performance",
    metadata,
    tenant_id(),
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    words("provider"),
    Column("success", Boolean, nullable=False),
    Column("response_time_ms", Double),
    Column("cost", Double),
    Column("quality_score", Double),
    instant("at"),
    UniqueConstraint("tenant_id", "key"),
    Index(None, "tenant_id", "agent", "at"),
)
