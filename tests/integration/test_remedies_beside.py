"""Remedies that watch, reload, make room or quiet a neighbour: carried out, and refused where nothing permits them."""

import asyncio
import gzip
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from systemd_stand_in import MEBIBYTE, StandIn

from agents.system_monitor import CHARTER
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import (
    Action,
    ActionRequest,
    AwaitSupervisor,
    ReloadService,
    ReniceService,
    RestartService,
    RotateLog,
    StartService,
    StopService,
    VacuumJournal,
)
from brainops.contracts.agent import ActionClass
from brainops.contracts.service import ServiceStatus
from brainops.database.engine import Database
from brainops.errors import NotAllowedError
from brainops.incidents.neighbours import family, neighbours
from brainops.incidents.reclaimable import reclaimable
from brainops.remedies.performer import ActionPerformer
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore

BUSY = [sys.executable, "-S", "-c", "while True: pass"]
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]
LISTEN_TO_HUP = [
    sys.executable, "-S", "-c",
    "import signal, time\nsignal.signal(signal.SIGHUP, lambda *_: open('reloaded', 'w'))\nopen('ready', 'w')\ntime.sleep(600)",
]  # fmt: skip
SERVICES = {
    "api": Service.model_validate(
        {"run": {"command": LISTEN_TO_HUP, "reload": "SIGHUP"}, "logs": [{"path": "api.log", "keep": 2}]}
    ),
    "batch": Service.model_validate({"run": {"command": BUSY}, "priority": "low"}),
    "normal": Service.model_validate({"run": {"command": SLEEP}}),
    "protected": Service.model_validate(
        {"run": {"command": SLEEP}, "priority": "low", "remedies": {"never": ["quiet_neighbour"]}}
    ),
    "machine": Service.model_validate(
        {"run": {"kind": "host"}, "checks": {"room": {"kind": "host"}}, "limits": {"journal": "4MB"}}
    ),
    "elsewhere": Service.model_validate(
        {
            "run": {"kind": "external"},
            "checks": {"front": {"kind": "http", "url": "http://127.0.0.1:1/"}},
            "autonomy": "act",
        }
    ),
    "unit": Service.model_validate({"run": {"kind": "systemd", "unit": "unit.service"}, "recover_within": "20s"}),
}


class Machine:
    """A machine with these services, a stand-in for its systemd, and whoever performs actions on it."""

    def __init__(self, folder: Path, database: Database) -> None:
        paths, objects = StatePaths(folder / "state"), ObjectStore(folder / "objects")
        self.folder = folder
        self.host = HostServices(paths, folder)
        known_good = KnownGoodFiles(KnownGoodStore(database), objects, folder)
        self.performer = ActionPerformer(
            self.host, known_good, SERVICES, paths, folder, objects=objects, charter=CHARTER.actions
        )
        self.systemd = StandIn(folder / "systemd")
        self.systemd.install()

    async def do(self, action: Action, of: ActionClass, *, service: str = "", undoing: bool = False) -> Any:
        request = ActionRequest(
            plan_id=uuid4(), step=1, action_class=of, service=service or action.service, action=action, undoing=undoing
        )
        return await self.performer.perform(request, f"{request.plan_id}.1", lambda: None)

    async def start(self, name: str) -> int:
        run = await self.host.start(name, SERVICES[name], f"{name}.{uuid4().hex}")
        assert run.pid is not None
        return run.pid


@pytest.fixture
async def machine(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    made = Machine(tmp_path, database)
    monkeypatch.setenv("PATH", f"{made.systemd.commands}:{os.environ['PATH']}")
    yield made
    for name in ("api", "batch", "normal", "protected"):
        await made.host.stop(name, SERVICES[name])
    made.systemd.end()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_busy_neighbour_is_seen_reniced_and_given_its_share_again(machine: Machine) -> None:
    pid = await machine.start("batch")
    (seen,) = await neighbours("api", SERVICES, machine.host)
    assert (seen.service, seen.reniced) == ("batch", False)
    assert seen.cpu_share > 0
    done = await machine.do(ReniceService(service="batch"), ActionClass.QUIET_NEIGHBOUR, service="api")
    assert {os.getpriority(os.PRIO_PROCESS, member) for member in family(pid)} == {15}
    (seen,) = await neighbours("api", SERVICES, machine.host)
    assert seen.reniced
    if os.geteuid() == 0:
        await machine.do(done.undo, ActionClass.QUIET_NEIGHBOUR, service="api", undoing=True)
        assert os.getpriority(os.PRIO_PROCESS, pid) == 0


async def test_a_stopped_neighbour_is_started_again_by_the_undo(machine: Machine) -> None:
    await machine.start("batch")
    done = await machine.do(StopService(service="batch"), ActionClass.QUIET_NEIGHBOUR, service="api")
    assert (await machine.host.state("batch", SERVICES["batch"])).status is ServiceStatus.EXITED
    assert done.undo == StartService(service="batch")
    await machine.do(done.undo, ActionClass.QUIET_NEIGHBOUR, service="api", undoing=True)
    assert (await machine.host.state("batch", SERVICES["batch"])).status is ServiceStatus.RUNNING


REFUSED: list[tuple[str, Action, ActionClass, str, str]] = [
    # name, action, class, service of the incident, what the refusal names
    ("normal neighbour", ReniceService(service="normal"), ActionClass.QUIET_NEIGHBOUR, "api", "services.normal"),
    ("the service itself as its neighbour", StopService(service="normal"), ActionClass.QUIET_NEIGHBOUR, "normal", "need not give way"),
    ("neighbour that forbids it", StopService(service="protected"), ActionClass.QUIET_NEIGHBOUR, "api", "services.protected.remedies"),
    ("neighbour under another class", StopService(service="batch"), ActionClass.RESTART, "api", "no part of any restart"),
    ("log that is not declared", RotateLog(service="api", path="../other.log"), ActionClass.CLEAN_LOGS, "api", "services.api.logs"),
    ("reload that is not declared", ReloadService(service="normal"), ActionClass.RELOAD, "normal", "services.normal.run.reload"),
    ("journal below its limit", VacuumJournal(service="machine", target_bytes=1), ActionClass.CLEAN_LOGS, "machine", "limits.journal"),
    ("journal of a plain service", VacuumJournal(service="api", target_bytes=1), ActionClass.CLEAN_LOGS, "api", "limits.journal"),
    ("start of what is elsewhere", StartService(service="elsewhere"), ActionClass.START, "elsewhere", "not started by BrainOps"),
    ("restart of what is elsewhere", RestartService(service="elsewhere"), ActionClass.RESTART, "elsewhere", "not stopped by BrainOps"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "of", "service", "named"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_what_the_configuration_does_not_permit_is_refused(
    machine: Machine, action: Action, of: ActionClass, service: str, named: str
) -> None:
    with pytest.raises(NotAllowedError, match=named):
        await machine.do(action, of, service=service)


async def test_reload_signals_the_running_process(machine: Machine) -> None:
    await machine.start("api")
    await until((machine.folder / "ready").exists)
    await machine.do(ReloadService(service="api"), ActionClass.RELOAD)
    await until((machine.folder / "reloaded").exists)


async def test_a_declared_log_is_seen_and_rotated(machine: Machine) -> None:
    (machine.folder / "api.log").write_bytes(b"x" * 5000)
    (fact,) = await reclaimable(SERVICES["api"], machine.folder)
    assert (fact.kind, fact.path, fact.bytes) == ("log", "api.log", 5000)
    await machine.do(RotateLog(service="api", path="api.log"), ActionClass.CLEAN_LOGS)
    assert (machine.folder / "api.log").stat().st_size == 0
    assert gzip.decompress((machine.folder / "api.log.1.gz").read_bytes()) == b"x" * 5000


async def test_the_journal_is_measured_and_shrunk_to_its_limit(machine: Machine) -> None:
    for number in range(3):
        (machine.systemd.folder / "journal" / f"archive{number}").write_bytes(bytes(2 * MEBIBYTE))
    (fact,) = await reclaimable(SERVICES["machine"], machine.folder)
    assert (fact.kind, fact.bytes) == ("journal", 6 * MEBIBYTE)
    done = await machine.do(VacuumJournal(service="machine", target_bytes=4_000_000), ActionClass.CLEAN_LOGS)
    assert done.ok
    (fact,) = await reclaimable(SERVICES["machine"], machine.folder)
    assert fact.bytes <= 4_000_000


async def test_waiting_for_the_supervisor_ends_with_its_restart(machine: Machine) -> None:
    machine.systemd.add("unit.service", SLEEP, restart="always", restart_seconds=0.5)
    machine.systemd.start("unit.service")
    os.kill(machine.systemd.pid("unit.service"), signal.SIGKILL)
    done = await machine.do(AwaitSupervisor(service="unit"), ActionClass.AWAIT_SUPERVISOR)
    assert (done.ok, machine.systemd.asked("restart")) == (True, 0)
    assert f"process {machine.systemd.pid('unit.service')}" in done.summary


async def test_waiting_for_the_supervisor_ends_when_it_gives_up(machine: Machine) -> None:
    crash = [sys.executable, "-S", "-c", "raise SystemExit(3)"]
    machine.systemd.add("unit.service", crash, restart="on-failure", burst=1)
    machine.systemd.start("unit.service")
    await until(lambda: machine.systemd.state("unit.service")["ActiveState"] == "failed")
    done = await machine.do(AwaitSupervisor(service="unit"), ActionClass.AWAIT_SUPERVISOR)
    assert not done.ok
    assert "systemd gave up on unit" in done.summary
