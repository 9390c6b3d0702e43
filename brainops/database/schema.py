"""What all tables share. Each table stands beside the store that writes it, in `<room>/tables.py`.

Row-level security limits every statement to the tenant of its transaction, so stores neither name nor filter by
`tenant_id`: its default is that tenant.
"""

from datetime import datetime

from sqlalchemy import Column, DateTime, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "brainops"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)


def tenant_id() -> Column[str]:
    """The tenant, first part of every primary key. Default: the transaction's."""
    return Column("tenant_id", Text, primary_key=True, server_default=text("current_setting('brainops.tenant_id')"))


def instant(name: str, *, nullable: bool = False) -> Column[datetime]:
    """A point in time, with its zone."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def now(name: str) -> Column[datetime]:
    """A point in time, by default that of the insert, by the server's clock."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()"))


def words(name: str) -> Column[str]:
    """Text that is never null; empty by default."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def structure(name: str, *, nullable: bool = True) -> Column[object]:
    """A structured value (jsonb)."""
    return Column(name, JSONB(none_as_null=True), nullable=nullable)
