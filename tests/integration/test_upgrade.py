"""Upgrades of real databases: forward with a backup, and back where the new version does not run."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from time import monotonic, sleep
from uuid import uuid4

import psycopg
import pytest

from brainops.config.paths import StatePaths
from brainops.contracts.base import DEFAULT_TENANT
from brainops.database.migrate import current, newest, upgrade
from brainops.database.urls import connection_string
from brainops.errors import SetupError
from workers.stack.state import StackInfo
from workers.upkeep.archive import verify
from workers.upkeep.upgrade import preflight, take_up

PROJECT = Path(__file__).resolve().parents[2]

# What others see of a stack: its lock and its file. Started again, it fails if it is told to.
STACK = """
import os, signal, sys
from pathlib import Path
from brainops.config.paths import StatePaths
from workers.stack.state import StackInfo, StackLock, start_ticks
paths = StatePaths.default()
if Path(sys.argv[1]).exists():
    sys.exit("the new version does not run")
lock = StackLock(paths)
lock.acquire()
StackInfo(pid=os.getpid(), start_ticks=start_ticks(os.getpid()), temporal_address="127.0.0.1:1", temporal_embedded=True,
    ui_url=None, database_url="postgresql://x", api_url="http://127.0.0.1:1", api_socket=paths.api_socket, config_path=None,
    state_folder=paths.root).write(paths)
print("State folder: here", flush=True)
signal.sigwait({signal.SIGTERM})
lock.release()
"""


@pytest.fixture
def old(empty_database_url: str, state_paths: StatePaths) -> dict[str, str]:
    """The environment of a BrainOps whose database is two versions behind, with an open incident."""
    state_paths.root.mkdir(mode=0o711)
    upgrade(empty_database_url, state_paths, "0001")
    with psycopg.connect(connection_string(empty_database_url)) as connection:
        connection.execute("SELECT set_config('brainops.tenant_id', %s, false)", (DEFAULT_TENANT,))
        connection.execute(
            "INSERT INTO brainops.incidents (plan_id, workflow_id, run_id, host, service, check_name, seq, observation,"
            " status, dependents) VALUES (%s, 'w', 'r', 'local', 'web', 'http', 1, '{}', 'open', '[]')",
            (uuid4(),),
        )
    return {"BRAINOPS_DATABASE_URL": empty_database_url, "PATH": os.environ["PATH"]}


@pytest.fixture
def stack(state_paths: StatePaths, tmp_path: Path) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", STACK, str(tmp_path / "broken")],
        env={"BRAINOPS_STATE_DIR": str(state_paths.root), "PYTHONPATH": str(PROJECT)},
    )
    deadline = monotonic() + 60
    while StackInfo.read(state_paths) is None:
        assert monotonic() < deadline
        assert process.poll() is None
        sleep(0.05)
    yield process
    process.terminate()
    process.wait()
    again = StackInfo.read(state_paths)
    if again is not None:
        os.kill(again.pid, 15)


def open_incidents(environment: dict[str, str]) -> int:
    with psycopg.connect(connection_string(environment["BRAINOPS_DATABASE_URL"])) as connection:
        connection.execute("SELECT set_config('brainops.tenant_id', %s, false)", (DEFAULT_TENANT,))
        row = connection.execute("SELECT count(*) FROM brainops.incidents WHERE closed_at IS NULL").fetchone()
    assert row is not None
    return int(row[0])


async def test_database_is_backed_up_and_migrated_and_open_plans_are_kept(
    old: dict[str, str], state_paths: StatePaths
) -> None:
    found = await preflight(state_paths, None, old)
    assert found.ok
    assert [finding.detail for finding in found.findings][-2:] == [
        f"at revision 0001, goes to {newest()}",
        "1, kept and taken up again",
    ]
    done = await take_up(state_paths, "9.9", None, environment=old)
    assert (done.revision_before, done.revision, done.open_plans, done.started) == ("0001", newest(), 1, False)
    assert current(old["BRAINOPS_DATABASE_URL"]) == newest()
    assert verify(done.backup)[0].revision == "0001"
    assert open_incidents(old) == 1


async def test_running_stack_is_started_again_as_it_was(
    old: dict[str, str], stack: subprocess.Popen[bytes], state_paths: StatePaths
) -> None:
    done = await take_up(state_paths, "9.9", None, environment=old)
    assert done.started
    assert stack.poll() is not None
    again = StackInfo.read(state_paths)
    assert again is not None
    assert again.pid != stack.pid


async def test_version_that_does_not_run_leaves_everything_as_it_was(
    old: dict[str, str], stack: subprocess.Popen[bytes], state_paths: StatePaths, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(
        SetupError, match=r"(?s)the new version does not run.*as it was before \(revision 0001.*uv tool install"
    ):
        await take_up(state_paths, "9.9", None, environment=old)
    assert current(old["BRAINOPS_DATABASE_URL"]) == "0001"
    assert open_incidents(old) == 1
    assert not list(state_paths.root.parent.glob("*going-back*"))


async def test_what_is_in_the_way_is_told_and_nothing_is_stopped(
    old: dict[str, str], stack: subprocess.Popen[bytes], state_paths: StatePaths, tmp_path: Path
) -> None:
    config = tmp_path / "brainops.yaml"
    config.write_text("servces: {}\n")
    with pytest.raises(SetupError, match=r"(?s)not begun.*servces"):
        await take_up(state_paths, "9.9", config, environment=old)
    with psycopg.connect(connection_string(old["BRAINOPS_DATABASE_URL"])) as connection:
        connection.execute("UPDATE brainops.alembic_version SET version_num = '9999'")
    with pytest.raises(SetupError, match=r"revision 9999, which is newer than this BrainOps"):
        await take_up(state_paths, "9.9", None, environment=old)
    assert stack.poll() is None
