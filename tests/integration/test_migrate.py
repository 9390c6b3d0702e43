"""Migrations on a real server."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import NullPool, create_engine, text

from brainops.config.paths import StatePaths
from brainops.database.migrate import current, upgrade
from brainops.database.urls import connection_string, parse_url
from brainops.errors import BadInputError, SetupError, UnavailableError
from migrations.target import is_ours, target


def _run(url: str, statement: str) -> None:
    with psycopg.connect(connection_string(url), autocommit=True) as connection:
        connection.execute(statement.encode())


def test_tables_in_code_and_in_the_database_are_the_same(owner_url: str) -> None:
    engine = create_engine(parse_url(owner_url), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT set_config('brainops.tenant_id', 'default', false)"))
        options = {
            "version_table_schema": "brainops",
            "include_schemas": True,
            "include_name": is_ours,
            "compare_type": True,
            "compare_server_default": True,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), target()) == []


def test_upgrading_again_changes_nothing_and_keeps_the_password(
    owner_url: str, app_url: str, server_paths: StatePaths
) -> None:
    assert upgrade(owner_url, server_paths) == app_url
    assert current(owner_url) == "0004"


def test_ten_processes_that_upgrade_an_empty_database_at_once_all_succeed(
    empty_database_url: str, server_paths: StatePaths
) -> None:
    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(upgrade, empty_database_url, server_paths) for _ in range(10)]
        urls = [call.result() for call in calls]
    assert len(set(urls)) == 1
    assert current(empty_database_url) == "0004"


def test_a_foreign_schema_of_our_name_is_refused_and_left_alone(
    empty_database_url: str, server_paths: StatePaths
) -> None:
    _run(empty_database_url, "CREATE SCHEMA brainops CREATE TABLE theirs (id int)")
    with pytest.raises(SetupError, match="that BrainOps did not make"):
        upgrade(empty_database_url, server_paths)
    with psycopg.connect(connection_string(empty_database_url)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'brainops'").fetchall()
    assert tables == [("theirs",)]


def test_a_database_of_a_newer_version_is_refused(empty_database_url: str, server_paths: StatePaths) -> None:
    upgrade(empty_database_url, server_paths)
    _run(empty_database_url, "UPDATE brainops.alembic_version SET version_num = '9999'")
    with pytest.raises(SetupError, match="newer BrainOps"):
        upgrade(empty_database_url, server_paths)


def test_a_login_with_a_foreign_password_gets_its_own_again(empty_database_url: str, server_paths: StatePaths) -> None:
    _run(empty_database_url, "CREATE EXTENSION vector")
    first = upgrade(empty_database_url, server_paths)
    _run(empty_database_url, "ALTER ROLE brainops_app PASSWORD 'changed by somebody'")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(connection_string(first))
    assert upgrade(empty_database_url, server_paths) == first
    psycopg.connect(connection_string(first)).close()


def test_an_owner_without_the_needed_rights_is_told_which(empty_database_url: str, server_paths: StatePaths) -> None:
    _run(empty_database_url, "DROP ROLE IF EXISTS weak; CREATE ROLE weak LOGIN PASSWORD 'weak'")
    weak = parse_url(empty_database_url).set(username="weak", password="weak").render_as_string(hide_password=False)
    with pytest.raises(SetupError, match="must name a role that owns the database"):
        upgrade(weak, server_paths)


def test_a_server_that_is_away_is_a_matter_of_waiting(state_paths: StatePaths) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        upgrade("postgresql://nobody@127.0.0.1:1/none", state_paths)


@pytest.mark.parametrize(
    "url", ["mysql://user:secret@host/db", "not a url secret", "postgresql://user:secret@host:port/db"]
)
def test_an_unusable_url_is_refused_without_repeating_its_password(url: str, state_paths: StatePaths) -> None:
    with pytest.raises(BadInputError) as caught:
        upgrade(url, state_paths)
    assert "secret" not in str(caught.value)


def test_the_password_file_is_for_its_owner_only(state_paths: StatePaths, empty_database_url: str) -> None:
    with pytest.raises(UnavailableError):
        upgrade("postgresql://nobody@127.0.0.1:1/none", state_paths)
    file: Path = state_paths.postgres / "passwords.json"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_second_installation_on_the_same_server_does_not_lock_the_first_one_out(
    empty_database_url: str, server_paths: StatePaths, state_paths: StatePaths
) -> None:
    first = upgrade(empty_database_url, server_paths)
    second = upgrade(empty_database_url, state_paths)
    assert first == second
    for url in (first, second):
        psycopg.connect(connection_string(url)).close()
