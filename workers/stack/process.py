"""One child process: in a session of its own, logging to a bounded file, and gone when we are gone."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

LOG_LIMIT_BYTES = 20 * 1024 * 1024
LOGS_KEPT = 2

PYTHON = (sys.executable, "-P")
"""Without -P, a folder `workers` or `agents` of the person's project, where `up` is run, would be taken for ours."""

_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class RunAs:
    """The user that a process runs as."""

    uid: int
    gid: int


def launcher(death_signal: signal.Signals, run_as: RunAs | None = None) -> list[str]:
    """What to put before a command so that the kernel sends it `death_signal` when the thread that starts it ends."""
    user, group = (str(run_as.uid), str(run_as.gid)) if run_as else ("-", "-")
    program = [sys.executable, "-I", "-S", str(_LAUNCH)]
    return [*program, str(os.getpid()), str(int(death_signal)), user, group, "--"]


class Child:
    """A running child process.

    The kernel sends it `death_signal` when the *thread* that started it ends, however that ends: start children from
    the main thread. What it leaves in its process group dies with it; a user's service is in a session of its own
    and therefore not in that group.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_file: Path,
        run_as: RunAs | None = None,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*launcher(death_signal, run_as), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/" if run_as else None,
            )
        self._log_file = log_file
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    @property
    def pid(self) -> int:
        """Its process id, which `launch.py` keeps."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def exited(self) -> int:
        """Wait for its end and return `exit_status`."""
        await self._exited.wait()
        return self._process.returncode

    async def stop(self, stop_signal: signal.Signals, timeout: timedelta) -> None:
        """Ask it to end, and end it by force after `timeout`. Returns when it is gone."""
        if self._exited.is_set():
            return
        # By descriptor: Popen's own way may reap the process, and its pid would be free for another.
        signal.pidfd_send_signal(self._pidfd, stop_signal)
        try:
            await asyncio.wait_for(self._exited.wait(), timeout.total_seconds())
        except TimeoutError:
            # It may have ended together with the time limit, and its descriptor is closed then.
            if not self._exited.is_set():
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._exited.wait()

    def said(self, limit: int = 16_384) -> str:
        """The end of what this process has printed, at most `limit` bytes."""
        return tail(self._log_file, limit, self._log_start)

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        # Before it is reaped, while its pid (and so the group's) cannot be another's. Its group may be empty by now.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        # Ours to close only now: `stop` signals by it.
        os.close(self._pidfd)
        self._process.wait()
        self._exited.set()


def tail(file: Path, limit: int = 16_384, start: int = 0) -> str:
    """The last `limit` bytes of `file` from offset `start` on; empty where there is no such file."""
    try:
        with file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            if start > end:  # it was emptied in between
                start = 0
            log.seek(max(start, end - limit))
            return log.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""


def bound_log(file: Path, limit: int = LOG_LIMIT_BYTES, kept: int = LOGS_KEPT) -> bool:
    """Where `file` is larger than `limit` bytes, move its content to `file.1` (…`.kept`) and empty it. True if so.

    The file itself stays, since its writer holds it open (and appends). Lines of the instant between copy and
    emptying may be lost.
    """
    try:
        if file.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    for number in range(kept, 1, -1):
        older = file.with_name(f"{file.name}.{number - 1}")
        if older.exists():
            older.replace(file.with_name(f"{file.name}.{number}"))
    shutil.copyfile(file, file.with_name(f"{file.name}.1"))
    os.truncate(file, 0)
    return True
