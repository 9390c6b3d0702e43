"""Services of kind `command`: the user's own start, stop and status, with all that can go wrong with them."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.service import ServiceStatus
from brainops.errors import ActionError, NotAllowedError
from brainops.services import procfs
from brainops.services.command import CommandServices

DAEMON = """
import os, subprocess, sys
with open("starts", "a") as starts:
    starts.write("x")
print("password=hunter22 opening", flush=True)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
open("daemon.pid", "w").write(str(child.pid))
os._exit(0)
"""
STATUS = """
import os, sys
try:
    pid = int(open("daemon.pid").read())
    state = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
except (FileNotFoundError, ValueError):
    state = "X"
print("state", state)
sys.exit(3 if state in "XZ" else 0)
"""
STOP = """
import os, signal, time
pid = int(open("daemon.pid").read())
try:
    os.kill(pid, signal.SIGKILL)
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "XZ":
        time.sleep(0.01)
except (ProcessLookupError, FileNotFoundError):
    pass
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def shop(**run: Any) -> Service:
    commands = {"start": python(DAEMON), "stop": python(STOP), "status": python(STATUS), "timeout": "20s"}
    return Service.model_validate({"run": {"kind": "command", **commands, **run}, "checks": {"process": FAST}})


FAST = {"kind": "process", "interval": "50ms", "timeout": "40ms"}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[CommandServices]:
    yield CommandServices(StatePaths(tmp_path / "state"), tmp_path)
    if (pid := daemon(tmp_path)) and procfs.stat(pid) is not None:
        os.kill(pid, signal.SIGKILL)


def daemon(folder: Path) -> int:
    path = folder / "daemon.pid"
    return int(path.read_text()) if path.exists() else 0


async def status(services: CommandServices, service: Service) -> ServiceStatus:
    return (await services.state("shop", service)).status


async def test_it_is_started_seen_and_stopped_by_its_own_commands(services: CommandServices) -> None:
    service = shop()
    assert await status(services, service) is ServiceStatus.EXITED
    run = await services.start("shop", service, "plan.1.1")
    state = await services.state("shop", service)
    assert (state.status, state.run and state.run.id) == (ServiceStatus.RUNNING, run.id)
    assert not await services.meant_to_end("shop", service)
    assert await services.stop("shop", service) == "stopped shop"
    assert await status(services, service) is ServiceStatus.EXITED
    assert await services.meant_to_end("shop", service)


async def test_one_effect_key_starts_it_once(services: CommandServices, tmp_path: Path) -> None:
    service = shop()
    first = await services.start("shop", service, "plan.1.1")
    os.kill(daemon(tmp_path), signal.SIGKILL)
    anew = CommandServices(StatePaths(tmp_path / "state"), tmp_path)
    assert (await anew.start("shop", service, "plan.1.1")).id == first.id
    assert (tmp_path / "starts").read_text() == "x"
    assert await anew.happened("shop", service, "plan.2.1") is None


async def test_a_restart_without_a_command_of_its_own_stops_and_starts(
    services: CommandServices, tmp_path: Path
) -> None:
    service = shop()
    await services.start("shop", service, "plan.1.1")
    before = daemon(tmp_path)
    ended, _ = await services.restart("shop", service, "plan.2.1")
    await services.restart("shop", service, "plan.2.1")
    assert ended == "stopped shop"
    assert daemon(tmp_path) != before
    assert (tmp_path / "starts").read_text() == "xx"


async def test_a_restart_that_a_dying_worker_left_is_found_and_nothing_is_started(
    services: CommandServices, tmp_path: Path
) -> None:
    service = shop(restart=python("open('restarts', 'a').write('x')"))
    await services.restart("shop", service, "plan.1.1")
    run = await services.start("shop", service, "plan.1.1")
    assert run.id == "plan.1.1"
    assert (tmp_path / "restarts").read_text() == "x"
    assert not (tmp_path / "starts").exists()


async def test_what_runs_already_is_not_started_again(services: CommandServices) -> None:
    await services.start("shop", shop(), "plan.1.1")
    with pytest.raises(ActionError, match="runs already"):
        await services.start("shop", shop(), "plan.2.1")


async def test_the_end_is_seen_by_the_status_command(services: CommandServices, tmp_path: Path) -> None:
    service = shop()
    await services.start("shop", service, "plan.1.1")
    waiting = asyncio.create_task(services.ended("shop", service))
    os.kill(daemon(tmp_path), signal.SIGKILL)
    await asyncio.wait_for(waiting, 20)


async def test_a_command_that_never_ends_is_killed_with_its_session(services: CommandServices, tmp_path: Path) -> None:
    endless = python(
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(ActionError, match="had not ended after 1 s and was killed"):
        await services.start("shop", shop(start=endless, timeout="1s"), "plan.1.1")
    child = procfs.stat(int((tmp_path / "child").read_text()))
    assert child is None or child.ended


FAILURES = [
    # start command, what the error says
    (["./nowhere"], r"nowhere"),
    (python("import sys; print('token=abcdef123456 is refused'); sys.exit(4)"), r"ended with exit code 4.*is refused"),
]


@pytest.mark.parametrize(("command", "said"), FAILURES)
async def test_a_failed_start_says_why_without_secrets(
    services: CommandServices, command: list[str], said: str
) -> None:
    with pytest.raises(ActionError, match=said) as error:
        await services.start("shop", shop(start=command), "plan.1.1")
    assert "abcdef123456" not in str(error.value)


STATUSES = [
    # exit code of the status command, what it means
    (0, ServiceStatus.RUNNING),
    (3, ServiceStatus.EXITED),
    (1, ServiceStatus.UNSEEN),
    (4, ServiceStatus.UNSEEN),
]


@pytest.mark.parametrize(("code", "meaning"), STATUSES)
async def test_the_status_is_read_as_lsb_says(services: CommandServices, code: int, meaning: ServiceStatus) -> None:
    service = shop(status=python(f"import sys; print('well'); sys.exit({code})"))
    state = await services.state("shop", service)
    assert state.status is meaning
    assert meaning is ServiceStatus.RUNNING or "well" in state.detail


async def test_a_status_command_that_hangs_or_is_missing_leaves_the_service_unseen(services: CommandServices) -> None:
    hanging = await services.state("shop", shop(status=python("import time; time.sleep(600)"), timeout="500ms"))
    missing = await services.state("shop", shop(status=["./nowhere"]))
    assert (hanging.status, missing.status) == (ServiceStatus.UNSEEN, ServiceStatus.UNSEEN)
    assert "had not ended after 0.5 s" in hanging.detail
    assert "cannot be run" in missing.detail


async def test_the_declared_log_is_read_from_its_end(services: CommandServices, tmp_path: Path) -> None:
    (tmp_path / "shop.log").write_bytes(b"old\n" * 10 + b"no such table: items\n")
    service = shop(log="shop.log")
    assert await services.tail("shop", service, 21) == b"no such table: items\n"
    await services.start("shop", shop(), "plan.1.1")
    assert b"opening" in await services.tail("shop", shop(), 1000)


async def test_reload_runs_its_command_and_needs_one(services: CommandServices, tmp_path: Path) -> None:
    await services.reload("shop", shop(reload=python("open('reloaded', 'w')")))
    assert (tmp_path / "reloaded").exists()
    with pytest.raises(NotAllowedError, match=r"services\.shop\.run\.reload"):
        await services.reload("shop", shop())


async def test_a_declared_environment_reaches_the_command_and_nothing_else_does(
    services: CommandServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "abcdef123456")
    monkeypatch.setenv("UNDECLARED", "x")
    wanted = "import os, sys; sys.exit(0 if os.environ.get('KEY') == 'abcdef123456' and 'UNDECLARED' not in os.environ else 9)"
    service = shop(status=python(wanted), reload=python(wanted), environment={"KEY": "${SHOP_TOKEN}"})
    assert await status(services, service) is ServiceStatus.RUNNING
    assert await services.reload("shop", service) == "reloaded shop"
