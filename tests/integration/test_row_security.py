"""What the run-time login can see and do: its own tenant's rows, and nothing else."""

import json
from collections.abc import Generator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from brainops.database.urls import connection_string
from migrations.target import target

TABLES = list(target().sorted_tables)
Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def app(app_url: str) -> Generator[Connection]:
    with psycopg.connect(connection_string(app_url), autocommit=True) as connection:
        yield connection


def insert(connection: Connection, table: Table, tenant: str) -> None:
    """One row with any value in each column that needs one, and the row of the incident that it may belong to."""
    if table.foreign_keys:
        insert(connection, next(iter(table.foreign_keys)).column.table, tenant)
    columns = [
        column
        for column in table.columns
        if column.name == "tenant_id" or not (column.nullable or column.server_default is not None or column.identity)
    ]
    values = [
        tenant
        if column.name == "tenant_id"
        else _STATES[table.name, column.name]
        if (table.name, column.name) in _STATES
        else _any_value(column.type)
        for column in columns
    ]
    statement = sql.SQL("INSERT INTO brainops.{} ({}) VALUES ({})").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(sql.Identifier(column.name) for column in columns),
        sql.SQL(", ").join(sql.Placeholder() for _ in columns),
    )
    connection.execute(statement, values)


_STATES = {
    ("effects", "state"): "begun",
    ("notices", "state"): "pending",
    ("persistent_memory", "kind"): "knowledge",
    ("memory_chunks", "source"): "memory",
    ("context_snapshots", "context_type"): "task",
    ("retention_receipts", "action"): "purge",
    ("todos", "status"): "open",
    ("work_items", "state"): "claimed",
    ("proposals", "status"): "open",
}
"""Of tables that allow only some words."""


def _any_value(kind: Any) -> Any:  # values and column types of every sort
    if isinstance(kind, JSONB):
        return json.dumps({})
    if isinstance(kind, ARRAY):
        return ["read"]
    by_type: dict[str, Any] = {
        "Uuid": "00000000-0000-4000-8000-000000000001",
        "DateTime": "now",
        "Date": "now",
        "Boolean": True,
        "LargeBinary": b"x",
        "Text": "x",
    }
    return by_type.get(type(kind).__name__, 1)


def set_tenant(connection: Connection, tenant: str) -> None:
    connection.execute("SELECT set_config('brainops.tenant_id', %s, false)", (tenant,))


def count(connection: Connection, table: Table) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM brainops.{}").format(sql.Identifier(table.name))).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_tenant_sees_its_own_rows_only(app: Connection, table: Table) -> None:
    app.execute("SELECT brainops.make_sample_partitions(ARRAY[current_date])")
    set_tenant(app, "a")
    app.execute("SELECT brainops.make_memory_partition()")
    insert(app, table, "a")
    assert count(app, table) == 1

    set_tenant(app, "b")
    assert count(app, table) == 0
    update = sql.SQL("UPDATE brainops.{} SET tenant_id = 'b'").format(sql.Identifier(table.name))
    assert app.execute(update).rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        insert(app, table, "a")

    set_tenant(app, "")
    assert count(app, table) == 0
    app.execute("RESET brainops.tenant_id")
    assert count(app, table) == 0


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_row_security_is_forced_and_the_login_does_not_own_the_table(app: Connection, table: Table) -> None:
    row = app.execute(
        "SELECT relrowsecurity AND relforcerowsecurity, pg_get_userbyid(relowner) <> current_user"
        " FROM pg_class WHERE oid = %s::regclass",
        (f"brainops.{table.name}",),
    ).fetchone()
    assert row == (True, True)


def test_every_table_of_the_schema_is_one_that_is_tested_here(app: Connection) -> None:
    found = app.execute(
        "SELECT relname FROM pg_class"
        " WHERE relnamespace = 'brainops'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    ).fetchall()
    assert {name for (name,) in found} == {table.name for table in TABLES} | {"alembic_version"}


def test_a_partition_cannot_be_read_or_written_past_its_parent(app: Connection) -> None:
    app.execute("SELECT brainops.make_sample_partitions(ARRAY[current_date, current_date + 1])")
    set_tenant(app, "a")
    app.execute("SELECT brainops.make_memory_partition()")
    found = app.execute(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent IN ('brainops.samples'::regclass, 'brainops.memory_chunks'::regclass) AND relkind = 'r'"
    ).fetchall()
    assert len(found) >= 3
    for (partition,) in found:
        for statement in ("SELECT * FROM brainops.{}", "DELETE FROM brainops.{}", "DROP TABLE brainops.{}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(sql.SQL(statement).format(sql.Identifier(partition)))


def test_the_login_is_no_superuser_and_can_make_nothing(app: Connection) -> None:
    row = app.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolinherit FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert row == (False, False, False, False, False)
    for statement in (
        "CREATE TABLE brainops.mine (id int)",
        "ALTER TABLE brainops.incidents DISABLE ROW LEVEL SECURITY",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(statement.encode())


@pytest.mark.parametrize("table", ["work_history", "decision_logs", "effects", "incidents", "incident_events"])
def test_what_was_done_and_decided_cannot_be_deleted(app: Connection, table: str) -> None:
    set_tenant(app, "a")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute(sql.SQL("DELETE FROM brainops.{}").format(sql.Identifier(table)))


def test_functions_that_act_as_the_owner_have_a_fixed_search_path(app: Connection) -> None:
    found = app.execute(
        "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'brainops'::regnamespace AND prosecdef"
    ).fetchall()
    assert {name for name, _ in found} == {
        "make_sample_partitions",
        "drop_empty_sample_partitions",
        "make_memory_partition",
    }
    assert all("search_path=pg_catalog, pg_temp" in settings for _, settings in found)
