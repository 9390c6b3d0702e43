"""A service that its owner's own commands start and stop breaks, and whole plans heal it by those commands."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import SERVICE, Builder, House

from brainops.contracts.incident import IncidentStatus

START = """
import subprocess, sys
daemon = subprocess.Popen(sys.argv[2:], start_new_session=True)
open(sys.argv[1], "w").write(str(daemon.pid))
"""
STOP = """
import os, signal, sys, time
pid = int(open(sys.argv[1]).read())
try:
    os.kill(pid, signal.SIGKILL)
    while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "XZ":
        time.sleep(0.01)
except (ProcessLookupError, FileNotFoundError):
    pass
"""
LEAK = """
import os, sys, time
kept = []
while True:
    if os.path.exists(sys.argv[1]):
        os.remove(sys.argv[1])
        kept.append(bytearray(90_000_000))
    time.sleep(0.02)
"""


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "daemon.pid"
    yield path
    if path.exists():
        try:
            os.kill(int(path.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            return


def by_commands(pid_file: Path, *daemon: str) -> dict[str, Any]:
    python = [sys.executable, "-S", "-c"]
    return {
        "kind": "command",
        "start": [*python, START, str(pid_file), *daemon],
        "stop": [*python, STOP, str(pid_file)],
        "pid_file": str(pid_file),
    }


async def start_by_hand(run: dict[str, Any]) -> None:
    started = await asyncio.create_subprocess_exec(*run["start"])
    assert await started.wait() == 0


async def healed(house: House, count: int = 1) -> None:
    detail = await house.incident("shop", IncidentStatus.RESOLVED, timeout=40, count=count)
    assert detail.row.remedy == "restart"


async def test_a_crash_and_a_hang_are_healed_by_the_owners_commands(builder: Builder, pid_file: Path) -> None:
    folder = builder.folder / "shop"
    folder.mkdir()
    run = by_commands(pid_file, sys.executable, "-S", str(SERVICE), str(builder.port("shop")), str(folder))
    await start_by_hand(run)
    async with builder.house({"shop": {"run": run, "recover_within": "10s"}}) as house:
        await house.watched("shop")
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        await healed(house)
        await house.answers("shop", 30)
        os.kill(int(pid_file.read_text()), signal.SIGSTOP)
        await healed(house, count=2)
        await house.answers("shop", 30)
        assert house.starts("shop") == 3


async def test_what_uses_more_memory_than_it_may_is_started_anew(builder: Builder, pid_file: Path) -> None:
    leak = builder.folder / "leak"
    run = by_commands(pid_file, sys.executable, "-S", "-c", LEAK, str(leak))
    await start_by_hand(run)
    checks = {"process": {"kind": "process", "interval": "100ms", "timeout": "90ms"}}
    declared = {"run": run, "checks": checks, "limits": {"memory": "60MB"}, "recover_within": "10s"}
    async with builder.house({"shop": declared}) as house:
        await house.watched("shop")
        first = int(pid_file.read_text())
        leak.touch()
        await healed(house)
        assert int(pid_file.read_text()) != first
