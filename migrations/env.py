"""Alembic's entry: runs on the connection that `brainops.database.migrate` hands over, in the schema `brainops`."""

from alembic import context
from sqlalchemy import Connection, text

from brainops.database.schema import SCHEMA
from migrations.target import is_ours, target

_connection: Connection = context.config.attributes["connection"]
_connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}, public"))
context.configure(
    connection=_connection,
    target_metadata=target(),
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=is_ours,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
