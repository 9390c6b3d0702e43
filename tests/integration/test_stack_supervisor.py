"""Keeping a part of the stack running, with real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from brainops.errors import SetupError
from workers.stack.process import Child, RunAs, bound_log, tail
from workers.stack.supervisor import Part, PartSpec, PartState

POLL_SECONDS = 0.01
NOBODY = 65534


async def until(condition: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(POLL_SECONDS)
    assert condition(), what


def shell(script: str) -> Sequence[str]:
    return ("/bin/sh", "-c", script)


class Announced(list[str]):
    """What people are told."""

    def has(self, words: str) -> bool:
        return any(words in line for line in self)


@pytest.fixture
def announced() -> Announced:
    return Announced()


@pytest.fixture
async def make(tmp_path: Path, announced: Announced) -> AsyncIterator[Callable[..., Part]]:
    """Makes a part of a shell script, ready when it has made the file `ready`; stops all of them at the end."""
    parts: list[Part] = []

    def make_part(script: str, **changes: object) -> Part:
        ready_file = tmp_path / "ready"

        def command() -> Sequence[str]:
            ready_file.unlink(missing_ok=True)
            return shell(script)

        async def ready() -> bool:
            return ready_file.exists()

        spec = PartSpec(
            name="toy",
            command=command,
            environment={"PATH": "/usr/bin:/bin", "READY": str(ready_file), "FOLDER": str(tmp_path)},
            log_file=tmp_path / "toy.log",
            ready=ready,
        )
        part = Part(replace(spec, **changes), announced.append)  # pyright: ignore[reportArgumentType] - test's own changes
        parts.append(part)
        return part

    yield make_part
    for part in parts:
        await part.stop()


async def test_start_returns_when_the_part_is_ready(make: Callable[..., Part], tmp_path: Path) -> None:
    part = make("sleep 0.2; touch $READY; exec sleep 60")
    await part.start()
    assert (tmp_path / "ready").exists()
    assert part.state is PartState.RUNNING
    assert part.pid is not None
    assert os.getsid(part.pid) == part.pid


async def test_part_that_dies_is_started_again(make: Callable[..., Part], announced: Announced) -> None:
    restarted = asyncio.Event()
    part = make("touch $READY; exec sleep 60", on_restart=restarted.set)
    await part.start()
    first = part.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await asyncio.wait_for(restarted.wait(), 10)
    assert part.pid not in {None, first}
    assert part.restarts == 1
    assert announced == ["toy ended (SIGKILL): it is started again in 0.1 s", f"toy runs again (pid {part.pid})"]


async def test_part_that_goes_on_dying_is_started_ever_more_slowly(
    make: Callable[..., Part], announced: Announced
) -> None:
    part = make("touch $READY; sleep 0.2; exit 3")
    await part.start()
    await until(lambda: announced.has("again in 0.4 s"), "third delay")
    delays = [line.split(" in ")[1] for line in announced if " in " in line]
    assert delays == ["0.1 s", "0.2 s", "0.4 s"]
    assert announced.has("toy ended (exit code 3)")


async def test_stop_asks_first_and_leaves_nothing(make: Callable[..., Part], tmp_path: Path) -> None:
    part = make("trap 'touch $FOLDER/asked; exit' TERM; sleep 60 & echo $! > $FOLDER/child; touch $READY; wait")
    await part.start()
    pid, child = part.pid, int((tmp_path / "child").read_text())
    await part.stop()
    assert (tmp_path / "asked").exists()
    assert part.state is PartState.STOPPED
    assert part.pid is None
    assert pid
    assert not psutil.pid_exists(pid)
    await until(lambda: not running(child), "its child is gone too")


async def test_part_that_does_not_listen_is_ended_by_force(make: Callable[..., Part]) -> None:
    part = make("trap '' TERM; touch $READY; while :; do sleep 60; done", stop_timeout=timedelta(seconds=0.2))
    await part.start()
    pid = part.pid
    await part.stop()
    assert pid
    assert not psutil.pid_exists(pid)


async def test_part_that_cannot_start_shows_its_command_and_its_last_lines(
    make: Callable[..., Part], announced: Announced
) -> None:
    part = make("echo 'the disk is full'; exit 7")
    with pytest.raises(SetupError, match=r"(?s)toy does not start \(exit code 7\).*the disk is full"):
        await part.start()
    assert part.state is PartState.FAILED
    assert announced == []


async def test_part_that_never_gets_ready_is_ended(make: Callable[..., Part], tmp_path: Path) -> None:
    part = make("echo $$ > $FOLDER/pid; exec sleep 60", start_timeout=timedelta(seconds=0.5), first_tries=1)
    with pytest.raises(SetupError, match=r"not ready after 0\.5 s"):
        await part.start()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


async def test_cause_that_can_be_mended_is_mended_and_said(
    make: Callable[..., Part], tmp_path: Path, announced: Announced
) -> None:
    def repair(said: str) -> str | None:
        (tmp_path / "mended").touch()
        return "mended it" if "broken" in said else None

    part = make(
        "test -e $FOLDER/mended || { echo broken; exit 1; }; touch $READY; exec sleep 60", repair=repair, first_tries=1
    )
    await part.start()
    assert part.state is PartState.RUNNING
    assert announced == ["mended it"]


async def test_part_whose_process_cannot_be_made_is_named(make: Callable[..., Part], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    part = make("exec sleep 60", log_file=tmp_path / "taken" / "toy.log")
    with pytest.raises(SetupError, match="toy cannot be started"):
        await part.start()


async def test_part_that_cannot_be_made_again_for_a_while_is_not_given_up(
    make: Callable[..., Part], tmp_path: Path, announced: Announced
) -> None:
    folder = tmp_path / "logs"
    part = make("touch $READY; exec sleep 60", log_file=folder / "toy.log")
    await part.start()
    folder.rename(tmp_path / "aside")
    folder.touch()
    assert part.pid
    os.kill(part.pid, signal.SIGKILL)
    await until(lambda: announced.has("toy cannot be started"), "it says why")
    folder.unlink()
    await until(lambda: announced.has("toy runs again"), "it runs again")


async def test_interrupted_start_leaves_nothing(make: Callable[..., Part], tmp_path: Path) -> None:
    part = make("echo $$ > $FOLDER/pid; exec sleep 60")
    starting = asyncio.create_task(part.start())
    await until(lambda: bool(tail(tmp_path / "pid")), "started")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


SUPERVISOR = """\
import asyncio, os, sys
from pathlib import Path
from workers.stack.process import Child

async def main(folder):
    child = Child(["/bin/sh", "-c", "trap '' TERM; echo $$ > $FOLDER/pid; while :; do sleep 60; done"],
                  environment={"FOLDER": str(folder), "PATH": "/usr/bin:/bin"}, log_file=folder / "log")
    await child.exited()

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_killed_supervisor_takes_its_children_along(tmp_path: Path) -> None:
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", SUPERVISOR, str(tmp_path))
    await until(lambda: tail(tmp_path / "pid").endswith("\n"), "the child runs")
    child = int((tmp_path / "pid").read_text())
    assert running(child)
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: not running(child), "the child is gone")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process as somebody else")
async def test_process_of_another_user_dies_with_us_too(tmp_path: Path) -> None:
    child = Child(
        shell("id -u; grep -c . /proc/self/status; exec sleep 60"),
        environment={"PATH": "/usr/bin:/bin"},
        log_file=tmp_path / "log",
        run_as=RunAs(NOBODY, NOBODY),
    )
    await until(lambda: child.said().count("\n") == 2, "it runs")
    assert child.said().splitlines()[0] == str(NOBODY)
    assert psutil.Process(child.pid).uids().real == NOBODY
    await child.stop(signal.SIGTERM, timedelta(seconds=5))


async def test_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    child = Child(["/no/such/program"], environment={}, log_file=tmp_path / "log")
    assert await child.exited() == 1
    assert child.said() == "/no/such/program: No such file or directory\n"


async def test_only_what_this_process_said_is_shown(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("said by an earlier one\n")
    child = Child(shell("echo said now"), environment={}, log_file=tmp_path / "log")
    await child.exited()
    assert child.said() == "said now\n"
    assert tail(tmp_path / "log", limit=4) == "now\n"
    assert tail(tmp_path / "nothing") == ""


async def test_log_is_bounded_while_it_is_being_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = Child(shell("while :; do echo 0123456789; sleep 0.001; done"), environment={}, log_file=log)
    for number in range(4):
        await until(lambda: log.stat().st_size > 200, f"round {number}")
        assert bound_log(log, limit=100)
    await until(lambda: log.stat().st_size > 0, "it goes on writing")
    await child.stop(signal.SIGKILL, timedelta())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert (tmp_path / "log").read_bytes().count(b"\0") == 0


def test_small_or_missing_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("short")
    assert not bound_log(tmp_path / "log", limit=100)
    assert not bound_log(tmp_path / "nothing")
    assert (tmp_path / "log").read_text() == "short"


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
