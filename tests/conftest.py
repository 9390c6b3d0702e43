"""What tests of every tier share: a real Postgres for the session, and a migrated database of its own for each test."""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from docker_engine import DockerEngine, running_engine
from psycopg import sql
from systemd_stand_in import StandIn

from brainops.config.paths import StatePaths
from brainops.database.embedded import EmbeddedPostgres, running_postgres
from brainops.database.engine import Database
from brainops.database.migrate import upgrade
from brainops.database.urls import connection_string, parse_url

_EMPTY = """
DO $$
DECLARE
    item record;
BEGIN
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    FOR item IN SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'brainops.samples'::regclass LOOP
        EXECUTE format('DROP TABLE %s', item.name);
    END LOOP;
    -- Its timelines and attempts refer to an incident: it goes last.
    FOR item IN
        SELECT format('brainops.%I', relname) AS name FROM pg_class
        WHERE relnamespace = 'brainops'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
        ORDER BY relname = 'incidents'
    LOOP
        EXECUTE format('DELETE FROM %s', item.name);
    END LOOP;
END
$$
"""


@pytest.fixture
def state_paths() -> Generator[StatePaths]:
    """An empty state folder with a short path that Postgres' own user may enter (pytest's tmp_path is closed to it)."""
    with _open_folder() as folder:
        yield StatePaths(folder / "state")


@pytest.fixture(scope="session")
def server_paths() -> Generator[StatePaths]:
    """The state folder of the session's Postgres server."""
    with _open_folder() as folder:
        yield StatePaths(folder / "state")


@contextmanager
def _open_folder() -> Generator[Path]:
    """A folder that everybody may pass through. It is removed once nobody writes to it any more: the shim of a service
    that a test has just ended still notes how."""
    folder = Path(tempfile.mkdtemp(prefix="bo-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    deadline = time.monotonic() + 10
    while True:
        try:
            shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(server_paths: StatePaths) -> AsyncGenerator[EmbeddedPostgres]:
    """The session's Postgres server; its database `brainops` is migrated and serves as template: leave it alone."""
    # What fsync protects from is a crash of the machine; killing Postgres loses nothing without it either.
    async with running_postgres(server_paths, settings={"fsync": "off"}) as server:
        upgrade(server.owner_url, server_paths)
        yield server


@pytest.fixture(scope="session")
def shared_database(postgres: EmbeddedPostgres) -> Generator[str]:
    """The one database that tests use in turn: emptying it takes milliseconds, making one a tenth of a second."""
    with _fresh_database(postgres, template="brainops") as name:
        yield name


@pytest.fixture
def database_name(postgres: EmbeddedPostgres, shared_database: str) -> Generator[str]:
    """A migrated database without rows, for this test alone while it runs; do not change its schema."""
    yield shared_database
    with psycopg.connect(connection_string(_named(postgres.owner_url, shared_database)), autocommit=True) as connection:
        connection.execute(_EMPTY)


@pytest.fixture
def owner_url(postgres: EmbeddedPostgres, database_name: str) -> str:
    """The owner's URL of the test's database."""
    return _named(postgres.owner_url, database_name)


@pytest.fixture
def app_url(postgres: EmbeddedPostgres, database_name: str) -> str:
    """The run-time login's URL of the test's database."""
    return _named(postgres.app_url, database_name)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Generator[str]:
    """The owner's URL of a database in which nothing was made yet; dropped afterwards."""
    with _fresh_database(postgres, template="template1") as name:
        yield _named(postgres.owner_url, name)


@pytest_asyncio.fixture
async def database(app_url: str) -> AsyncGenerator[Database]:
    """The test's database through the run-time login, as the default tenant."""
    opened = Database(app_url)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def docker_session() -> Generator[DockerEngine]:
    """The session's Docker engine, with one image; use `docker_engine`."""
    with running_engine() as engine:
        yield engine


@pytest.fixture
def docker_engine(docker_session: DockerEngine) -> Generator[DockerEngine]:
    """A real Docker engine without containers."""
    yield docker_session
    docker_session.remove_all()


@contextmanager
def _fresh_database(postgres: EmbeddedPostgres, template: str) -> Generator[str]:
    name = f"test_{uuid4().hex}"
    maintenance = connection_string(_named(postgres.owner_url, "postgres"))
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _named(url: str, database: str) -> str:
    return parse_url(url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[StandIn]:
    """A stand-in of systemd whose commands come first on PATH."""
    stand_in = StandIn(tmp_path / "systemd")
    stand_in.install()
    monkeypatch.setenv("PATH", f"{stand_in.commands}:{os.environ['PATH']}")
    yield stand_in
    stand_in.end()
