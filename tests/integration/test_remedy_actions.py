"""The handlers of remedies on real processes, ports, folders and files: each effect once, and nobody else's things."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import (
    Action,
    ActionRequest,
    CleanFolder,
    FreePort,
    MakeFolder,
    PutBackFiles,
    RestartService,
    RestoreFiles,
    RunCommand,
    StartService,
    StopService,
)
from brainops.contracts.agent import ActionClass
from brainops.contracts.service import ServiceStatus
from brainops.database.engine import Database
from brainops.errors import AmbiguousEffectError, NotAllowedError, NotFoundError
from brainops.incidents.ports import PortInspector
from brainops.remedies.performer import ActionPerformer
from brainops.services import procfs
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.services.process import ProcessAdapter
from brainops.storage.objects import ObjectStore

LISTEN = """
import signal, socket, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening", flush=True)
time.sleep(600)
"""
COUNT = """
import sys, time
with open("runs", "a") as runs:
    runs.write("x")
print("password=hunter22 begun", flush=True)
time.sleep(float(sys.argv[1]))
with open("ends", "a") as ends:
    ends.write("x")
print("mended", flush=True)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def no_beat() -> None:
    """A heartbeat that nobody listens to."""


class House:
    """A host with a service `api` (and its dependency `store`), and what acts on it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.port = free_port()
        self.paths = StatePaths(folder / "state")
        self.host = HostServices(self.paths, folder)
        self.adapter = self.host.processes.adapter
        self.objects = ObjectStore(self.paths.objects)
        self.known_good = KnownGoodFiles(KnownGoodStore(database), self.objects, folder)
        self.services: dict[str, Service] = {}
        self.declare("api", ports=[self.port], depends_on=["store"])
        self.declare("store")

    def declare(self, name: str, **fields: Any) -> None:
        """Declare a service that sleeps, with these fields."""
        run = {"command": ["sleep", "600"], "stop_timeout": "1s"}
        self.services[name] = Service.model_validate({"run": run} | fields)

    def performer(self, charter: frozenset[ActionClass] = frozenset(ActionClass)) -> ActionPerformer:
        """As a new worker has it."""
        return ActionPerformer(
            HostServices(self.paths, self.folder),
            self.known_good,
            self.services,
            self.paths,
            self.folder,
            objects=self.objects,
            charter=charter,
        )


@pytest.fixture
async def house(tmp_path: Path, database: Database) -> AsyncIterator[House]:
    house = House(tmp_path, database)
    yield house
    for name, service in house.services.items():
        await house.adapter.stop(name, service)
    commands = ProcessAdapter(StatePaths(house.paths.root / "commands"), tmp_path)
    for folder in (house.paths.root / "commands" / "services").glob("*"):
        await commands.stop(folder.name, house.services["api"])


def request(action: Action, action_class: ActionClass, *, service: str = "api", undoing: bool = False) -> ActionRequest:
    return ActionRequest(
        plan_id=uuid4(), step=1, action_class=action_class, service=service, action=action, undoing=undoing
    )


RESTART = request(RestartService(service="api"), ActionClass.RESTART)


async def test_a_repeated_restart_leaves_its_own_process_alone(house: House) -> None:
    await house.adapter.start("api", house.services["api"], "first")
    before = house.adapter.running("api")
    assert before is not None
    done = await house.performer().perform(RESTART, "key", no_beat)
    assert done.ok
    started = house.adapter.running("api")
    assert started is not None
    assert started.pid != before.pid
    assert f"started as process {started.pid}" in done.summary
    again = await house.performer().perform(RESTART, "key", no_beat)
    assert again.ok
    still = house.adapter.running("api")
    assert still is not None
    assert still.pid == started.pid


async def test_a_restart_that_happened_is_found_again(house: House) -> None:
    assert await house.performer().reconcile(RESTART, "key") is None
    await house.performer().perform(RESTART, "key", no_beat)
    found = await house.performer().reconcile(RESTART, "key")
    assert found is not None
    assert found.ok


async def test_what_cannot_be_executed_is_a_failed_result_with_its_command(house: House) -> None:
    house.declare("api", run={"command": ["no-such-program"]})
    start = request(StartService(service="api"), ActionClass.START)
    for outcome in (
        await house.performer().perform(start, "key", no_beat),
        await house.performer().reconcile(start, "key"),
    ):
        assert outcome is not None
        assert not outcome.ok
        assert "no-such-program" in outcome.summary


async def test_starting_what_runs_changes_nothing(house: House) -> None:
    record = await house.adapter.start("api", house.services["api"], "first")
    done = await house.performer().perform(request(StartService(service="api"), ActionClass.START), "key", no_beat)
    assert done.ok
    assert str(record.pid) in done.summary


# --- free_port


@pytest.fixture
def holder(house: House) -> Generator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that listen on the service's port."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", LISTEN, str(house.port), *arguments],
            stdout=subprocess.PIPE,
            env=os.environ | environment,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"listening\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def free(house: House) -> FreePort:
    (listener,) = procfs.listeners(house.port)
    return FreePort(service="api", port=house.port, pid=listener.pid, start_ticks=listener.start_ticks)


@pytest.mark.parametrize("arguments", [(), ("deaf",)])
async def test_a_stray_that_the_configuration_names_is_ended(
    house: House, holder: Callable[..., subprocess.Popen[bytes]], arguments: tuple[str, ...]
) -> None:
    house.declare("api", ports=[house.port], may_end=["*create_server*"])
    stray = holder(*arguments)
    freeing = request(free(house), ActionClass.FREE_PORT)
    assert await house.performer().reconcile(freeing, "key") is None
    done = await house.performer().perform(freeing, "key", no_beat)
    assert done.ok
    assert stray.wait(5) == (-signal.SIGKILL if arguments else -signal.SIGTERM)
    assert procfs.listeners(house.port) == ()
    found = await house.performer().reconcile(freeing, "key")
    assert found is not None
    assert found.ok


async def test_an_unrelated_process_is_never_ended(
    house: House, holder: Callable[..., subprocess.Popen[bytes]]
) -> None:
    stranger = holder()
    facts = await PortInspector(house.host, house.services).facts("api", house.services["api"], house.port)
    assert (facts.holder_pid, facts.may_be_ended) == (stranger.pid, False)
    with pytest.raises(NotAllowedError, match=r"services\.api\.may_end"):
        await house.performer().perform(request(free(house), ActionClass.FREE_PORT), "key", no_beat)
    assert stranger.poll() is None


async def test_another_brainops_processes_are_not_ours(
    house: House, holder: Callable[..., subprocess.Popen[bytes]]
) -> None:
    holder(BRAINOPS_SERVICE="api", BRAINOPS_EFFECT_KEY="of-another-installation")
    facts = await PortInspector(house.host, house.services).facts("api", house.services["api"], house.port)
    assert not facts.may_be_ended


async def test_what_an_earlier_start_left_behind_is_ours(
    house: House, holder: Callable[..., subprocess.Popen[bytes]]
) -> None:
    await house.adapter.start("api", house.services["api"], "earlier")
    await house.adapter.stop("api", house.services["api"])
    stray = holder(BRAINOPS_SERVICE="api", BRAINOPS_EFFECT_KEY="earlier")
    facts = await PortInspector(house.host, house.services).facts("api", house.services["api"], house.port)
    assert facts.may_be_ended
    await house.performer().perform(request(free(house), ActionClass.FREE_PORT), "key", no_beat)
    assert stray.wait(5) == -signal.SIGTERM


async def test_a_service_that_runs_is_no_stray_of_its_neighbour(house: House) -> None:
    house.declare("store", run={"command": [sys.executable, "-c", LISTEN, str(house.port)]})
    house.declare("api", ports=[house.port], may_end=["*create_server*"])
    await house.adapter.start("store", house.services["store"], "k")
    await until(lambda: procfs.listeners(house.port))
    facts = await PortInspector(house.host, house.services).facts("api", house.services["api"], house.port)
    assert facts.holder_pid is not None
    assert not facts.holder_is_service
    assert not facts.may_be_ended
    own = await PortInspector(house.host, house.services).facts("store", house.services["store"], house.port)
    assert own.holder_is_service


async def test_a_pid_that_names_another_process_by_now_is_left_alone(
    house: House, holder: Callable[..., subprocess.Popen[bytes]]
) -> None:
    house.declare("api", ports=[house.port], may_end=["*"])
    stray = holder()
    action = free(house).model_copy(update={"start_ticks": 1})
    assert (await house.performer().perform(request(action, ActionClass.FREE_PORT), "key", no_beat)).ok
    assert stray.poll() is None


# --- clean_folder, restore_folder


def fill(folder: Path, names: list[str], size: int = 1000) -> None:
    for age, name in enumerate(reversed(names)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (time.time() - 60 * age, time.time() - 60 * age))


CLEAN = request(CleanFolder(service="api", path="scratch"), ActionClass.CLEAN_FOLDER)


async def test_oldest_files_are_deleted_down_to_the_target(house: House) -> None:
    house.declare("api", folders=[{"path": "scratch", "limit": 4000, "clean": ["*.tmp"]}])
    scratch = house.folder / "scratch"
    fill(scratch, ["oldest.tmp", "deep/old.tmp", "keep.txt", "newer.tmp", "newest.tmp"])
    done = await house.performer().perform(CLEAN, "key", no_beat)
    assert done.summary == "deleted 3 files, 3.0 kB, of scratch"
    assert {path.name for path in scratch.rglob("*") if path.is_file()} == {"keep.txt", "newest.tmp"}
    again = await house.performer().perform(CLEAN, "key", no_beat)
    assert again.summary == "deleted 0 files, 0 B, of scratch"


async def test_links_lead_nowhere_and_declared_files_stay(house: House) -> None:
    outside = house.folder / "outside"
    fill(outside, ["precious.tmp"])
    house.declare(
        "api",
        files=[{"path": "scratch/config.tmp"}],
        folders=[{"path": "scratch", "limit": 1, "target": 0, "clean": ["*.tmp"]}],
    )
    scratch = house.folder / "scratch"
    fill(scratch, ["config.tmp", "real.tmp"])
    (scratch / "link.tmp").symlink_to(outside / "precious.tmp")
    (scratch / "folder").symlink_to(outside)
    done = await house.performer().perform(CLEAN, "key", no_beat)
    assert done.summary == "deleted 1 file, 1.0 kB, of scratch; nothing more may be deleted"
    assert (outside / "precious.tmp").exists()
    assert (scratch / "link.tmp").is_symlink()
    assert (scratch / "config.tmp").exists()
    assert not (scratch / "real.tmp").exists()


@pytest.mark.parametrize(
    ("glob", "deleted"),
    [
        ("*.tmp", {"a.tmp", "sub/b.tmp", "sub/deep/c.tmp"}),
        ("sub/*.tmp", {"sub/b.tmp"}),
        ("sub/**/*.tmp", {"sub/b.tmp", "sub/deep/c.tmp"}),
        ("**", {"a.tmp", "sub/b.tmp", "sub/deep/c.tmp", "d.log"}),
        ("?.log", {"d.log"}),
        ("[ab].tmp", {"a.tmp", "sub/b.tmp"}),
        ("[!ab].tmp", {"sub/deep/c.tmp"}),
        ("../*", set[str]()),
    ],
)
async def test_globs_say_what_may_be_deleted(house: House, glob: str, deleted: set[str]) -> None:
    house.declare("api", folders=[{"path": "scratch", "limit": 1, "target": 0, "clean": [glob]}])
    names = ["a.tmp", "sub/b.tmp", "sub/deep/c.tmp", "d.log"]
    fill(house.folder / "scratch", names)
    fill(house.folder, ["above"])
    await house.performer().perform(CLEAN, "key", no_beat)
    assert {name for name in names if not (house.folder / "scratch" / name).exists()} == deleted
    assert (house.folder / "above").exists()


async def test_a_folder_is_made_once(house: House) -> None:
    house.declare("api", folders=[{"path": "var/spool"}])
    making = request(MakeFolder(service="api", path="var/spool"), ActionClass.RESTORE_FILES)
    assert await house.performer().reconcile(making, "key") is None
    assert (await house.performer().perform(making, "key", no_beat)).ok
    assert (house.folder / "var" / "spool").is_dir()
    assert await house.performer().reconcile(making, "key") is not None


async def test_a_file_in_the_place_of_a_folder_is_told(house: House) -> None:
    house.declare("api", folders=[{"path": "spool"}])
    (house.folder / "spool").write_text("")
    making = request(MakeFolder(service="api", path="spool"), ActionClass.RESTORE_FILES)
    done = await house.performer().perform(making, "key", no_beat)
    assert not done.ok
    assert "is not a folder" in done.summary


# --- restore_files


async def test_files_are_restored_and_put_back(house: House) -> None:
    config = house.folder / "api.json"
    config.write_text("good")
    config.chmod(0o640)
    house.declare("api", files=[{"path": "api.json"}])
    await asyncio.sleep(0.05)  # only a process that began after the file was written proves it
    process = await house.adapter.start("api", house.services["api"], "proof")
    assert await house.known_good.keep("api", house.services["api"], process) == ("api.json",)
    config.write_text("edited by somebody")
    restoring = request(RestoreFiles(service="api", paths=("api.json",)), ActionClass.RESTORE_FILES)
    await house.performer().perform(restoring, "key", no_beat)
    assert config.read_text() == "good"
    # a retry: what the first one found is still what the undo brings back
    done = await house.performer().perform(restoring, "key", no_beat)
    assert done.ok
    assert config.read_text() == "good"
    assert done.undo is not None
    undoing = request(done.undo, ActionClass.RESTORE_FILES, undoing=True)
    assert (await house.performer().perform(undoing, "undo", no_beat)).ok
    assert config.read_text() == "edited by somebody"


async def test_an_undo_is_refused_outside_of_an_undoing_plan(house: House) -> None:
    action = PutBackFiles(service="api", backup_key="backups/x")
    with pytest.raises(NotAllowedError, match="undo"):
        house.performer().check(request(action, ActionClass.RESTORE_FILES))


# --- run_command


def counting(seconds: str, **fields: Any) -> dict[str, Any]:
    return {"mend": {"run": [sys.executable, "-c", COUNT, seconds], **fields}}


MEND = request(RunCommand(service="api", command="mend"), ActionClass.RUN_COMMAND)


async def test_a_command_runs_once_and_its_output_is_kept_without_secrets(house: House) -> None:
    house.declare("api", commands=counting("0", undo=["true"]))
    assert await house.performer().reconcile(MEND, "key") is None
    done = await house.performer().perform(MEND, "key", no_beat)
    assert done.summary == "mend ended with exit code 0: mended"
    assert done.undo == RunCommand(service="api", command="mend", undoing=True)
    assert (await house.performer().perform(MEND, "key", no_beat)).ok
    assert (await house.performer().reconcile(MEND, "key")) == done
    assert (house.folder / "runs").read_text() == "x"
    kept = (await house.objects.get("commands/key.txt")).decode()
    assert "mended" in kept
    assert "hunter22" not in kept


async def test_a_command_survives_the_death_of_its_worker_and_is_found_again(house: House) -> None:
    house.declare("api", commands=counting("0.6"))
    worker = asyncio.create_task(house.performer().perform(MEND, "key", no_beat))
    await until((house.folder / "runs").exists)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert await house.performer().reconcile(MEND, "key") is None
    done = await house.performer().perform(MEND, "key", no_beat)
    assert done.ok
    assert ((house.folder / "runs").read_text(), (house.folder / "ends").read_text()) == ("x", "x")


async def test_a_command_is_killed_whole_at_its_timeout(house: House) -> None:
    house.declare("api", commands=counting("600", timeout="300ms"))
    beats: list[int] = []
    done = await house.performer().perform(MEND, "key", lambda: beats.append(1))
    assert not done.ok
    assert "was killed" in done.summary
    assert beats
    assert not (house.folder / "ends").exists()
    assert not (await house.performer().perform(MEND, "key", no_beat)).ok


async def test_a_failing_command_is_a_failed_result(house: House) -> None:
    house.declare("api", commands={"mend": {"run": ["sh", "-c", "echo no luck; exit 3"]}})
    done = await house.performer().perform(MEND, "key", no_beat)
    assert (done.ok, done.summary) == (False, "mend ended with exit code 3: no luck")


async def test_a_command_whose_end_nobody_saw_is_ambiguous(house: House) -> None:
    house.declare("api", commands=counting("600"))
    worker = asyncio.create_task(house.performer().perform(MEND, "key", no_beat))
    await until((house.folder / "runs").exists)
    worker.cancel()
    commands = ProcessAdapter(StatePaths(house.paths.root / "commands"), house.folder)
    run = commands.running("api.mend")
    assert run is not None
    os.kill(run.shim_pid, signal.SIGKILL)
    os.kill(run.pid, signal.SIGKILL)
    await until(lambda: run.find_alive() is None)
    with pytest.raises(AmbiguousEffectError, match="nobody saw how it ended"):
        await house.performer().reconcile(MEND, "key")


# --- what the host refuses


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            request(RestoreFiles(service="api", paths=("/etc/passwd",)), ActionClass.RESTORE_FILES),
            r"services\.api\.files",
        ),
        (request(CleanFolder(service="api", path="/"), ActionClass.CLEAN_FOLDER), r"services\.api\.folders"),
        (request(MakeFolder(service="api", path="/x"), ActionClass.RESTORE_FILES), r"services\.api\.folders"),
        (request(RunCommand(service="api", command="rm"), ActionClass.RUN_COMMAND), r"services\.api\.commands"),
        (
            request(FreePort(service="api", port=22, pid=1, start_ticks=1), ActionClass.FREE_PORT),
            r"services\.api\.ports",
        ),
        # under the name of a class in which it does not belong
        (request(CleanFolder(service="api", path="scratch"), ActionClass.START), "no part of any start remedy"),
        (request(StopService(service="api"), ActionClass.RESTART), "no part of any restart remedy"),
        # what it does not depend on
        (request(RestartService(service="api"), ActionClass.RESTART_DEPENDENCY, service="store"), "depends_on"),
        (request(RestartService(service="store"), ActionClass.RESTART), "may not be touched"),
    ],
)
async def test_what_is_not_declared_is_refused(house: House, asked: ActionRequest, told: str) -> None:
    with pytest.raises(NotAllowedError, match=told):
        await house.performer().perform(asked, "key", no_beat)


async def test_charter_configuration_and_host_are_checked(house: House) -> None:
    with pytest.raises(NotAllowedError, match="charter"):
        house.performer(frozenset({ActionClass.START})).check(RESTART)
    house.declare("api", remedies={"never": ["restart"]})
    with pytest.raises(NotAllowedError, match=r"services\.api\.remedies"):
        house.performer().check(RESTART)
    with pytest.raises(NotFoundError):
        house.performer().check(request(RestartService(service="gone"), ActionClass.RESTART))
    house.declare("api", host="elsewhere")
    with pytest.raises(NotAllowedError, match="elsewhere"):
        house.performer().check(RESTART)


async def test_a_dependency_is_restarted_where_it_permits_that(house: House) -> None:
    first = request(RestartService(service="store"), ActionClass.RESTART_DEPENDENCY)
    assert (await house.performer().perform(first, "key", no_beat)).ok
    state = await house.adapter.state("store", house.services["store"])
    assert state.status is ServiceStatus.RUNNING
    house.declare("store", remedies={"never": ["restart"]})
    with pytest.raises(NotAllowedError, match=r"services\.store\.remedies"):
        house.performer().check(first)
