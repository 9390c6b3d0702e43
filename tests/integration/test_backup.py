"""Backups of real databases: what is in the file comes back, and a file that is not whole is refused."""

import gzip
import os
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from brainops.config.paths import StatePaths
from brainops.contracts.base import DEFAULT_TENANT
from brainops.database.embedded import running_postgres
from brainops.database.migrate import current, newest, upgrade
from brainops.database.urls import connection_string
from brainops.errors import BadInputError, SetupError
from workers.stack.state import StackLock
from workers.upkeep.archive import reading, verify, writing
from workers.upkeep.backup import BackupDone, back_up
from workers.upkeep.database import owned_database
from workers.upkeep.restore import restore

EMBEDDED: dict[str, str] = {}
SERVICE = "web"


def fill(owner_url: str, heartbeats: int = 3) -> None:
    """A little of everything that a load can get wrong: references, identities, a partition, odd characters."""
    plan = uuid4()
    with psycopg.connect(connection_string(owner_url)) as connection:
        connection.execute("SELECT set_config('brainops.tenant_id', %s, false)", (DEFAULT_TENANT,))
        connection.execute(
            "INSERT INTO brainops.incidents (plan_id, workflow_id, run_id, host, service, check_name, seq, observation,"
            " status, cause, dependents) VALUES (%s, 'w', 'r', 'local', %s, 'http', 1, '{}', 'resolved', %s, '[]')",
            (plan, SERVICE, "tab\t, newline\n, backslash \\N and an é"),
        )
        for note in ("first", "second"):
            connection.execute(
                "INSERT INTO brainops.incident_events (plan_id, status, note) VALUES (%s, 'open', %s)", (plan, note)
            )
        if connection.execute("SELECT to_regclass('brainops.memory_chunks')").fetchone() != (None,):  # since 0004
            connection.execute("SELECT brainops.make_memory_partition()")
            connection.execute(
                "INSERT INTO brainops.memory_chunks (source_id, position, source, kind, scopes, at, first, last, terms, embedding,"
                " changed) VALUES (%s, 0, 'memory', 'knowledge', ARRAY['project:web'], now(), 0, 9, 'lamp', '[0.5,-1]', 10^15)",
                (plan,),
            )
        connection.execute("SELECT brainops.make_sample_partitions(ARRAY[current_date])")
        connection.execute(
            "INSERT INTO brainops.samples (service, check_name, at, ok, latency_ms)"
            " SELECT %s, 'http', date_trunc('day', now()) + n * interval '1 millisecond', true, n"
            " FROM generate_series(1, 500) n",
            (SERVICE,),
        )
        connection.execute(
            "INSERT INTO brainops.heartbeats (name, at, body) SELECT 'beat-' || n, now(),"
            " jsonb_build_object('note', repeat(md5(n::text), 1000)) FROM generate_series(1, %s) n",
            (heartbeats,),
        )


def read(owner_url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(connection_string(owner_url)) as connection:
        connection.execute("SELECT set_config('brainops.tenant_id', %s, false)", (DEFAULT_TENANT,))
        return connection.execute(query.encode()).fetchall()


STORY = (
    "SELECT i.service, i.cause, e.id, e.note FROM brainops.incidents i JOIN brainops.incident_events e"
    " USING (tenant_id, plan_id) ORDER BY e.id"
)


@pytest_asyncio.fixture
async def filled(state_paths: StatePaths) -> AsyncGenerator[StatePaths]:
    """A state folder whose stack does not run."""
    state_paths.root.mkdir(mode=0o711)
    async with running_postgres(state_paths) as postgres:
        upgrade(postgres.owner_url, state_paths)
        fill(postgres.owner_url)
    kept = state_paths.objects / "histories" / "one.json.gz"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(os.urandom(5000))
    run = state_paths.services / SERVICE / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text("{}")
    run.with_name("output.log").write_text("the service's own words")
    yield state_paths


async def made(paths: StatePaths, file: Path) -> BackupDone:
    return await back_up(paths, file, "1.2.3", environment=EMBEDDED)


async def test_everything_comes_back_in_another_folder(filled: StatePaths, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    config = tmp_path / "brainops.yaml"
    config.write_text("services: {}\n")
    done = await back_up(filled, file, "1.2.3", config, environment=EMBEDDED)
    assert (done.incidents, done.files, stat.S_IMODE(file.stat().st_mode)) == (1, 2, 0o600)
    elsewhere = StatePaths(filled.root.with_name("elsewhere"))
    restored = await restore(elsewhere, file, environment=EMBEDDED)
    assert (restored.rows, restored.revision, restored.migrated_to) == (done.rows, newest(), newest())
    assert restored.configuration is not None
    assert restored.configuration.read_text() == "services: {}\n"
    assert (elsewhere.objects / "histories/one.json.gz").read_bytes() == (
        filled.objects / "histories/one.json.gz"
    ).read_bytes()
    assert (elsewhere.services / SERVICE / "run.json").exists()
    assert not (elsewhere.services / SERVICE / "output.log").exists()
    async with owned_database(filled, EMBEDDED) as before:
        story = read(before.owner_url, STORY)
    async with owned_database(elsewhere, EMBEDDED) as after:
        assert read(after.owner_url, STORY) == story
        assert read(after.owner_url, "SELECT count(*), sum(latency_ms) FROM brainops.samples") == [(500, 125250.0)]
        # The transaction that wrote a passage has another number in another server.
        chunk = "SELECT terms, embedding::text, changed < 10^15 FROM brainops.memory_chunks"
        assert read(after.owner_url, chunk) == [("lamp", "[0.5,-1]", True)]
        new = "INSERT INTO brainops.incident_events (plan_id, status, note) SELECT plan_id, 's', 'n' FROM brainops.incidents RETURNING id"
        assert read(after.owner_url, new) == [(3,)]
        partition = "SELECT has_table_privilege('brainops_app', inhrelid, 'SELECT') FROM pg_inherits WHERE inhparent = 'brainops.samples'::regclass"
        assert set(read(after.owner_url, partition)) == {(False,)}


async def test_backup_of_an_older_version_is_brought_up_to_date(state_paths: StatePaths, tmp_path: Path) -> None:
    state_paths.root.mkdir(mode=0o711)
    async with running_postgres(state_paths) as postgres:
        upgrade(postgres.owner_url, state_paths, "0001")
        fill(postgres.owner_url)
    file = tmp_path / "old.tar.gz"
    assert (await made(state_paths, file)).revision == "0001"
    elsewhere = StatePaths(state_paths.root.with_name("elsewhere"))
    assert (await restore(elsewhere, file, environment=EMBEDDED)).migrated_to == newest()
    async with owned_database(elsewhere, EMBEDDED) as database:
        assert current(database.owner_url) == newest()
        assert len(read(database.owner_url, STORY)) == 2


async def test_backup_of_a_newer_version_is_refused_and_nothing_is_made(filled: StatePaths, tmp_path: Path) -> None:
    async with owned_database(filled, EMBEDDED) as database:
        with psycopg.connect(connection_string(database.owner_url)) as connection:
            connection.execute("UPDATE brainops.alembic_version SET version_num = '9999'")
    file = tmp_path / "newer.tar.gz"
    await made(filled, file)
    elsewhere = StatePaths(filled.root.with_name("elsewhere"))
    with pytest.raises(BadInputError, match=r"made by BrainOps 1\.2\.3.*9999.*install BrainOps 1\.2\.3 or newer"):
        await restore(elsewhere, file, environment=EMBEDDED)
    with pytest.raises(SetupError, match="newer BrainOps"):
        async with owned_database(filled, EMBEDDED) as database:
            upgrade(database.owner_url, filled)
    assert [path.name for path in filled.root.parent.iterdir()] == [filled.root.name]


async def test_rows_and_rights_come_back_in_a_database_of_ones_own(
    owner_url: str, empty_database_url: str, state_paths: StatePaths, tmp_path: Path
) -> None:
    fill(owner_url, heartbeats=300)  # ten megabytes: several pieces
    given, empty = {"BRAINOPS_DATABASE_URL": owner_url}, {"BRAINOPS_DATABASE_URL": empty_database_url}
    state_paths.root.mkdir(mode=0o711)
    file = tmp_path / "given.tar.gz"
    done = await back_up(state_paths, file, "1.2.3", environment=given)
    assert sum("rows/heartbeats/" in name for name in verify(file)[1].members) >= 2
    elsewhere = StatePaths(state_paths.root.with_name("elsewhere"))
    assert (await restore(elsewhere, file, environment=empty)).rows == done.rows
    assert read(empty_database_url, STORY) == read(owner_url, STORY)
    bodies = "SELECT name, md5(body::text) FROM brainops.heartbeats ORDER BY name"
    assert read(empty_database_url, bodies) == read(owner_url, bodies)
    with pytest.raises(BadInputError, match="holds a BrainOps already"):
        await restore(StatePaths(state_paths.root.with_name("third")), file, environment=empty)


@pytest_asyncio.fixture
async def whole(owner_url: str, state_paths: StatePaths, tmp_path: Path) -> Path:
    """A backup of a database of one's own."""
    fill(owner_url)
    state_paths.root.mkdir(mode=0o711)
    file = tmp_path / "whole.tar.gz"
    await back_up(state_paths, file, "1.2.3", environment={"BRAINOPS_DATABASE_URL": owner_url})
    return file


async def test_failed_restore_leaves_neither_folder_nor_tables(
    whole: Path, empty_database_url: str, state_paths: StatePaths
) -> None:
    # A backup that is whole and lies: it has rows of a table that no migration makes.
    write(whole, {**members(whole), "rows/heartbeatz/000000": b""})
    elsewhere = StatePaths(state_paths.root.with_name("elsewhere"))
    with pytest.raises(BadInputError, match="heartbeatz"):
        await restore(elsewhere, whole, environment={"BRAINOPS_DATABASE_URL": empty_database_url})
    assert current(empty_database_url) is None
    assert not elsewhere.root.exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "state/../../evil", "elsewhere/evil"])
async def test_member_that_would_leave_the_folder_is_refused(whole: Path, state_paths: StatePaths, name: str) -> None:
    write(whole, {**members(whole), name: b"evil"})
    elsewhere = StatePaths(state_paths.root.with_name("elsewhere"))
    with pytest.raises(BadInputError, match="damaged"):
        await restore(elsewhere, whole, environment=EMBEDDED)
    assert [path.name for path in state_paths.root.parent.iterdir()] == [state_paths.root.name]


def members(file: Path) -> dict[str, bytes]:
    """What a backup holds, without its header and manifest."""
    with reading(file) as archive:
        return {entry.name: entry.read() for entry in archive.entries()}


def write(file: Path, content: dict[str, bytes]) -> None:
    """Write a backup that is whole, with this content and the header and counts of `file`."""
    header, manifest = verify(file)
    with file.open("wb") as stream, writing(stream, header) as archive:
        for name, part in content.items():
            archive.add(name, part)
        archive.finish(manifest.rows)


def changed(content: bytes) -> bytes:
    unpacked = bytearray(gzip.decompress(content))
    unpacked[unpacked.index(b"newline") + 2] ^= 1
    return gzip.compress(bytes(unpacked))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def shortened(content: bytes) -> bytes:
    unpacked = gzip.decompress(content)
    return gzip.compress(unpacked[: len(unpacked) // 2])


@pytest.mark.parametrize("damage", [changed, cut, shortened])
async def test_file_that_was_cut_off_or_changed_is_refused(
    whole: Path, state_paths: StatePaths, damage: Callable[[bytes], bytes]
) -> None:
    whole.write_bytes(damage(whole.read_bytes()))
    elsewhere = StatePaths(state_paths.root.with_name("elsewhere"))
    with pytest.raises(BadInputError, match="damaged"):
        await restore(elsewhere, whole, environment=EMBEDDED)
    assert not elsewhere.root.exists()


async def test_nothing_is_overwritten(filled: StatePaths, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    await made(filled, file)
    with pytest.raises(BadInputError, match="exists already"):
        await made(filled, file)
    with pytest.raises(BadInputError, match=r"not empty.*uninstall --purge"):
        await restore(filled, file, environment=EMBEDDED)


async def test_what_is_no_backup_is_told_from_one_of_a_later_format(tmp_path: Path, state_paths: StatePaths) -> None:
    other = tmp_path / "other.txt"
    other.write_text("hello")
    with pytest.raises(BadInputError, match="no backup of BrainOps"):
        await restore(state_paths, other, environment=EMBEDDED)
    with pytest.raises(BadInputError, match="cannot be read: No such file"):
        await restore(state_paths, tmp_path / "none", environment=EMBEDDED)
    with pytest.raises(BadInputError, match="holds no database"):
        await made(state_paths, tmp_path / "x.tar.gz")


async def test_state_folder_that_another_stack_holds_is_not_touched(filled: StatePaths, tmp_path: Path) -> None:
    lock = StackLock(filled)
    lock.acquire()
    try:
        with pytest.raises(BadInputError, match="runs already"):
            await made(filled, tmp_path / "backup.tar.gz")
    finally:
        lock.release()
    assert list(tmp_path.iterdir()) == []
