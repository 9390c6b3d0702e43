"""The rows of BrainOps' database, out of one snapshot and into fresh tables.

Tables are not in a backup, their rows are: migrations make the tables, with their rights and their row-level security,
on whatever PostgreSQL they are loaded into. Everything here runs over the owner's connection.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from typing import LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from brainops.contracts.base import DEFAULT_TENANT
from brainops.database.schema import SCHEMA
from brainops.errors import BadInputError
from workers.upkeep.archive import PIECE_BYTES, Entry, Partition, Table

Connection = psycopg.Connection[tuple[object, ...]]

ROWS = "rows"
"""Folder of the backup in which the tables are."""

_VERSIONS = "alembic_version"
"""Alembic's own table: a backup has the revision in its header."""

_TABLES: LiteralString = """
SELECT class.relname, array_agg(column_.attname::text ORDER BY column_.attnum)
FROM pg_class class JOIN pg_attribute column_ ON column_.attrelid = class.oid
WHERE class.relnamespace = %(schema)s::regnamespace AND class.relkind IN ('r', 'p') AND NOT class.relispartition
    AND class.relname <> %(versions)s
    AND column_.attnum > 0 AND NOT column_.attisdropped AND column_.attgenerated = ''
GROUP BY class.relname
"""
_REFERENCES: LiteralString = """
SELECT child.relname, parent.relname
FROM pg_constraint JOIN pg_class child ON child.oid = conrelid JOIN pg_class parent ON parent.oid = confrelid
WHERE contype = 'f' AND child.relnamespace = %(schema)s::regnamespace AND conrelid <> confrelid
"""
_PARTITIONS: LiteralString = """
SELECT parent.relname, child.relname, pg_get_expr(child.relpartbound, child.oid)
FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid JOIN pg_class parent ON parent.oid = inhparent
WHERE child.relispartition AND child.relkind = 'r' AND child.relnamespace = %(schema)s::regnamespace
ORDER BY child.relname
"""
_SEQUENCES: LiteralString = """
SELECT column_.attname, pg_get_serial_sequence(format('%%I.%%I', %(schema)s::text, class.relname), column_.attname)
FROM pg_class class JOIN pg_attribute column_ ON column_.attrelid = class.oid
WHERE class.relnamespace = %(schema)s::regnamespace AND class.relname = %(table)s
    AND column_.attnum > 0 AND NOT column_.attisdropped
    AND pg_get_serial_sequence(format('%%I.%%I', %(schema)s::text, class.relname), column_.attname) IS NOT NULL
"""
_SEES_ALL: LiteralString = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
_RANGE = re.compile(r"FOR VALUES FROM \('([^']*)'\) TO \('([^']*)'\)")
_LIST = re.compile(r"FOR VALUES IN \('([^']*)'\)")
_INDEXED = "memory_chunks"
"""Its rows bear the transaction that wrote them last, which has no meaning in another server."""


def begin_snapshot(connection: Connection) -> None:
    """Begin a transaction that sees the database as it is now, whatever is written meanwhile.

    An owner that is no superuser is subject to row-level security too; then these are the default tenant's rows.
    """
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.execute("SELECT set_config('brainops.tenant_id', %s, true)", (DEFAULT_TENANT,))


def revision(connection: Connection) -> str:
    """The database's last migration. Raises BadInputError when there is none."""
    found = connection.execute("SELECT to_regclass(%s)", (f"{SCHEMA}.{_VERSIONS}",)).fetchone()
    if found is None or found[0] is None:
        raise BadInputError("the database holds nothing of BrainOps yet: there is nothing to back up")
    row = connection.execute(_query("SELECT version_num FROM {}", _VERSIONS)).fetchone()
    if row is None:
        raise BadInputError("the database was never migrated: there is nothing to back up")
    return str(row[0])


def tables(connection: Connection) -> tuple[Table, ...]:
    """Every table of ours, those that others refer to first."""
    cursor = connection.cursor(row_factory=tuple_row)
    parameters = {"schema": SCHEMA, "versions": _VERSIONS}
    columns = {
        str(name): tuple(map(str, cast("list[object]", names))) for name, names in cursor.execute(_TABLES, parameters)
    }
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(sorted(columns), ()))
    for child, parent in cursor.execute(_REFERENCES, parameters):
        order.add(str(child), str(parent))
    partitions: dict[str, list[Partition]] = {}
    for table, name, bound in cursor.execute(_PARTITIONS, parameters):
        partitions.setdefault(str(table), []).append(_partition(str(table), str(name), str(bound)))
    return tuple(
        Table(name=name, columns=columns[name], partitions=tuple(partitions.get(name, ())))
        for name in order.static_order()
    )


def _partition(table: str, name: str, bound: str) -> Partition:
    if found := _RANGE.fullmatch(bound):
        return Partition(name=name, start=found[1], end=found[2])
    if found := _LIST.fullmatch(bound):
        return Partition(name=name, value=found[1])
    raise BadInputError(f"the partition {name} of {table} is not one of ours ({bound}); detach it first")


def dump(connection: Connection, table: Table) -> Iterator[bytes]:
    """The rows in PostgreSQL's text format, in pieces of bounded size."""
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(SCHEMA, table.name))
    gathered = bytearray()
    with connection.cursor() as cursor, cursor.copy(query) as copied:
        while data := copied.read():
            gathered += data
            if len(gathered) >= PIECE_BYTES:
                yield bytes(gathered)
                gathered.clear()
    if gathered:
        yield bytes(gathered)


def count(connection: Connection, table: Table) -> int:
    """How many rows it has."""
    row = connection.execute(_query("SELECT count(*) FROM {}", table.name)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate always answers
    return int(str(row[0]))


def member_name(table: Table, number: int) -> str:
    """Where a piece of a table stands in the backup."""
    return f"{ROWS}/{table.name}/{number:06}"


def load(connection: Connection, wanted: tuple[Table, ...], entries: Iterable[Entry]) -> dict[str, int]:
    """Fill the tables, which hold nothing worth keeping, from `entries`; how many rows each has then.

    The caller commits. Raises BadInputError for a table that there is none of.
    """
    known = {table.name: table for table in tables(connection)}
    for table in wanted:
        if table.name not in known or not set(table.columns) <= set(known[table.name].columns):
            raise BadInputError(f"the backup has a table {table.name} that its revision does not make; it is damaged")
    sees_all = connection.execute(_SEES_ALL).fetchone() == (True,)
    targets = sql.SQL(", ").join(sql.Identifier(SCHEMA, table.name) for table in wanted)
    connection.execute(sql.SQL("TRUNCATE {}").format(targets))
    forced = [] if sees_all else [table for table in wanted if _is_forced(connection, table)]
    for table in forced:
        connection.execute(_query("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", table.name))
    for table in wanted:
        _make_partitions(connection, table)
    by_name = {table.name: table for table in wanted}
    for name, pieces in itertools.groupby(entries, key=lambda entry: entry.name.split("/")[1]):
        if name not in by_name:
            raise BadInputError(f"the backup has rows of a table {name!r} that its header lacks; it is damaged")
        _fill(connection, by_name[name], pieces)
    if _INDEXED in by_name:
        connection.execute(_query("UPDATE {} SET changed = (pg_current_xact_id()::text)::bigint", _INDEXED))
    loaded: dict[str, int] = {}
    for table in wanted:
        _set_sequences(connection, table)
        loaded[table.name] = count(connection, table)
    for table in forced:
        connection.execute(_query("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table.name))
    return loaded


def _fill(connection: Connection, table: Table, pieces: Iterable[Entry]) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(SCHEMA, table.name), names)
    with connection.cursor() as cursor, cursor.copy(query) as copying:
        for piece in pieces:
            for data in piece.pieces():
                copying.write(data)


def _make_partitions(connection: Connection, table: Table) -> None:
    for partition in table.partitions:
        # A partition that is named directly is not covered by its parent's policy: it carries no grants.
        if partition.value is None:
            bounds = sql.SQL("FROM ({}) TO ({})").format(sql.Literal(partition.start), sql.Literal(partition.end))
        else:
            bounds = sql.SQL("IN ({})").format(sql.Literal(partition.value))
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF {} FOR VALUES {}").format(
                sql.Identifier(SCHEMA, partition.name), sql.Identifier(SCHEMA, table.name), bounds
            )
        )
        connection.execute(_query("REVOKE ALL ON {} FROM PUBLIC, brainops_app", partition.name))


def _set_sequences(connection: Connection, table: Table) -> None:
    found = connection.execute(_SEQUENCES, {"schema": SCHEMA, "table": table.name}).fetchall()
    for column, sequence in found:
        connection.execute(
            sql.SQL("SELECT setval({}, coalesce(max({}), 0) + 1, false) FROM {}").format(
                sql.Literal(str(sequence)), sql.Identifier(str(column)), sql.Identifier(SCHEMA, table.name)
            )
        )


def _is_forced(connection: Connection, table: Table) -> bool:
    found = connection.execute(
        "SELECT relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", (f'{SCHEMA}."{table.name}"',)
    ).fetchone()
    return found == (True,)


def _query(statement: LiteralString, table: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(SCHEMA, table))
