"""Tables of what the checks saw: current states, samples with age, heartbeats."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table, Text

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words

check_states = Table(
    "check_states",
    metadata,
    tenant_id(),
    Column("service", Text, primary_key=True),
    Column("check_name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    words("reason"),
    words("detail"),
    instant("since"),
    Column("latency_ms", Double),
    now("updated_at"),
    Index(None, "tenant_id", "host", "status"),
)

samples = Table(
    "samples",
    metadata,
    tenant_id(),
    Column("service", Text, primary_key=True),
    Column("check_name", Text, primary_key=True),
    Column("at", instant("at").type, primary_key=True),
    Column("ok", Boolean, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Index(None, "at", postgresql_using="brin"),
    postgresql_partition_by="RANGE (at)",
)
"""Raw probe results, one partition a UTC day, named `samples_YYYYMMDD`."""


def _condensed(name: str) -> Table:
    return Table(
        name,
        metadata,
        tenant_id(),
        Column("service", Text, primary_key=True),
        Column("check_name", Text, primary_key=True),
        Column("at", instant("at").type, primary_key=True),
        Column("probes", Integer, nullable=False),
        Column("passed", Integer, nullable=False),
        Column("latency_ms_mean", Double, nullable=False),
        Column("latency_ms_max", Double, nullable=False),
        Index(None, "tenant_id", "at"),
    )


# Latencies are those of good probes; 0 where there was none.
sample_minutes = _condensed("sample_minutes")
sample_hours = _condensed("sample_hours")

heartbeats = Table(
    "heartbeats",
    metadata,
    tenant_id(),
    Column("name", Text, primary_key=True),
    instant("at"),
    structure("body"),
    now("received_at"),
)
