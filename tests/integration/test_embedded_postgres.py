"""The embedded cluster: made once, run as somebody who is not root, reached by a socket, closed to others."""

import os
import shutil
import signal
import stat
from pathlib import Path

import psutil
import psycopg
import pytest

from brainops.config.paths import StatePaths
from brainops.database import embedded
from brainops.database.embedded import EmbeddedPostgres, running_postgres
from brainops.database.urls import connection_string, parse_url
from brainops.errors import SetupError

UNSYNCED = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a user cannot start a server as somebody else")


def _postmaster(postgres: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((postgres.data / "postmaster.pid").read_text().splitlines()[0]))


async def test_what_was_written_is_there_after_a_restart(state_paths: StatePaths) -> None:
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        with psycopg.connect(connection_string(postgres.owner_url)) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        with psycopg.connect(connection_string(postgres.owner_url)) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


async def test_it_is_stopped_with_its_block_and_listens_on_no_port(state_paths: StatePaths) -> None:
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        server = _postmaster(postgres)
        assert server.uids().real != 0
        assert [
            link for link in server.net_connections() if link.status == psutil.CONN_LISTEN and link.laddr.port
        ] == []
        assert await postgres.ready()
    assert not server.is_running()
    assert not await postgres.ready()


async def test_its_settings_bound_memory_disk_and_loss(state_paths: StatePaths) -> None:
    async with running_postgres(state_paths) as postgres:
        with psycopg.connect(connection_string(postgres.owner_url)) as connection:
            found = dict(connection.execute("SELECT name, current_setting(name) FROM pg_settings").fetchall())
    assert (found["fsync"], found["synchronous_commit"], found["full_page_writes"]) == ("on", "on", "on")
    assert (found["max_connections"], found["shared_buffers"], found["max_wal_size"]) == ("60", "16MB", "256MB")
    assert (found["listen_addresses"], found["password_encryption"]) == ("", "scram-sha-256")


async def test_nobody_gets_in_without_the_password(state_paths: StatePaths) -> None:
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        string = connection_string(postgres.owner_url)
        password = str(parse_url(string).password)
        for wrong in (string.replace(password, "wrong"), string.replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong, passfile="/nonexistent")


def test_passwords_and_data_are_closed_to_others(state_paths: StatePaths) -> None:
    postgres = EmbeddedPostgres(state_paths, settings=UNSYNCED)
    postgres.prepare()
    first = postgres.owner_url
    postgres.prepare()
    assert postgres.owner_url == first
    for path in (state_paths.postgres / "passwords.json", postgres.data, state_paths.postgres / "sockets"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert not list(state_paths.postgres.glob("*.new"))


def test_a_first_start_that_was_interrupted_is_begun_anew(state_paths: StatePaths) -> None:
    half = state_paths.postgres / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    postgres = EmbeddedPostgres(state_paths, settings=UNSYNCED)
    postgres.prepare()
    assert (postgres.data / "global").is_dir()


def test_a_cluster_of_another_version_is_refused_with_the_way_out(state_paths: StatePaths) -> None:
    postgres = EmbeddedPostgres(state_paths, settings=UNSYNCED)
    postgres.prepare()
    (postgres.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(SetupError, match="is of PostgreSQL 17"):
        postgres.prepare()


def test_before_it_is_prepared_it_says_what_to_do(state_paths: StatePaths) -> None:
    with pytest.raises(SetupError, match="call prepare"):
        EmbeddedPostgres(state_paths).command()


async def test_a_state_folder_with_a_long_path_gets_a_short_socket(state_paths: StatePaths) -> None:
    deep = StatePaths(state_paths.root / ("long-" * 20) / "state")
    deep.root.parent.mkdir(parents=True)
    for folder in (state_paths.root, deep.root.parent):
        folder.chmod(0o711)
    async with running_postgres(deep, settings=UNSYNCED) as postgres:
        assert await postgres.ready()
    recorded = Path((deep.postgres / "socket_folder").read_text())
    again = EmbeddedPostgres(deep, settings=UNSYNCED)
    again.prepare()
    assert str(recorded) in again.command()
    shutil.rmtree(recorded)


async def test_a_server_that_cannot_start_tells_why(state_paths: StatePaths) -> None:
    with pytest.raises(SetupError, match="unrecognized configuration parameter"):
        async with running_postgres(state_paths, settings=UNSYNCED | {"no_such_setting": "1"}):
            pass


async def test_a_killed_server_comes_up_again(state_paths: StatePaths) -> None:
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        server = _postmaster(postgres)
        children = server.children()
        server.send_signal(signal.SIGKILL)
        psutil.wait_procs([server, *children], timeout=10)
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        assert await postgres.ready()


@as_root
def test_a_closed_parent_folder_is_named_and_not_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SetupError, match="may not enter"):
        EmbeddedPostgres(StatePaths(closed / "state")).prepare()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_our_own_state_folder_is_opened_to_the_servers_group_only(state_paths: StatePaths) -> None:
    state_paths.root.mkdir(mode=0o700)
    EmbeddedPostgres(state_paths, settings=UNSYNCED).prepare()
    assert stat.S_IMODE(state_paths.root.stat().st_mode) == 0o710


@as_root
async def test_binaries_that_the_servers_user_cannot_read_are_copied(
    state_paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = embedded.find_package()
    hidden = tmp_path / "root-only"
    hidden.mkdir(mode=0o700)
    for name in (original.name, f"{original.name}.libs"):
        (hidden / name).symlink_to(original.parent / name)
    monkeypatch.setattr(embedded, "find_package", lambda: hidden / original.name)
    async with running_postgres(state_paths, settings=UNSYNCED) as postgres:
        assert postgres.command()[0].startswith(str(state_paths.postgres / "install"))
        assert await postgres.ready()
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o700
