"""Tables of the services and of the good versions of their files."""

from sqlalchemy import BigInteger, Boolean, Column, Integer, Table, Text, text

from brainops.database.schema import instant, metadata, now, structure, tenant_id, words

services = Table(
    "services",
    metadata,
    tenant_id(),
    Column("name", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    words("paused_reason"),
    structure("autonomy", nullable=False),
    instant("removed_at", nullable=True),
    now("created_at"),
    now("updated_at"),
)

known_good_files = Table(
    "known_good_files",
    metadata,
    tenant_id(),
    Column("service", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("object_key", Text, nullable=False),
    Column("mode", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    now("kept_at"),
    instant("process_started_at", nullable=True),
)
