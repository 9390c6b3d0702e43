"""Ending the stack of a state folder from outside, and starting it again as it was started."""

import asyncio
import os
import select
import signal
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic

from brainops.config.paths import StatePaths
from brainops.errors import BadInputError, ConfigError, SetupError
from workers.stack.process import tail
from workers.stack.state import StackInfo, lock_holder

STOP_LIMIT = timedelta(seconds=60)
START_LIMIT = timedelta(minutes=5)
APPLY_LIMIT = timedelta(minutes=15)
APPLY_SIGNAL = signal.SIGUSR1
"""On it `brainops up` reads its file anew."""


def stop_stack(paths: StatePaths) -> int | None:
    """End the stack and wait until it is gone; its pid, or None where none runs. Users' services go on.

    Raises SetupError when it does not end in time, BadInputError when it is another user's.
    """
    pid = lock_holder(paths)
    if pid is None:
        return None
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        if lock_holder(paths) != pid:  # it ended meanwhile, and the descriptor may be of another process
            return None
        signal.pidfd_send_signal(process, signal.SIGTERM)
        if not select.select([process], [], [], STOP_LIMIT.total_seconds())[0]:
            raise SetupError(
                f"the stack (pid {pid}) has not stopped after {STOP_LIMIT.total_seconds():.0f} s; see {paths.logs}"
            )
    except PermissionError as error:
        raise BadInputError(f"the stack (pid {pid}) belongs to another user: run this as that user") from error
    finally:
        os.close(process)
    return pid


def apply_to_stack(paths: StatePaths, info: StackInfo) -> None:
    """Have the running stack read its file anew, and wait until it goes by it.

    Raises ConfigError with the stack's own reason when it changed nothing, SetupError when it ends or takes too long.
    """
    try:
        process = os.pidfd_open(info.pid)
    except ProcessLookupError as error:
        raise SetupError(f"the stack (pid {info.pid}) has ended; start it with `brainops up`") from error
    try:
        signal.pidfd_send_signal(process, APPLY_SIGNAL)
        deadline = monotonic() + APPLY_LIMIT.total_seconds()
        while (now := StackInfo.read(paths)) is None or now.applications == info.applications:
            if select.select([process], [], [], 0.1)[0]:
                raise SetupError(f"the stack (pid {info.pid}) ended meanwhile; see {paths.logs}")
            if monotonic() > deadline:
                raise SetupError(f"the stack (pid {info.pid}) does not answer; see {paths.logs}")
    except PermissionError as error:
        raise BadInputError(f"the stack (pid {info.pid}) belongs to another user: run this as that user") from error
    finally:
        os.close(process)
    if now.apply_problem:
        raise ConfigError(now.apply_problem)


@dataclass(frozen=True)
class Launch:
    """How a running stack was started, so that it can be started so again."""

    command: tuple[str, ...]
    folder: Path
    environment: dict[str, str]

    @classmethod
    def of(cls, pid: int) -> "Launch":
        """Read from the running process. Raises BadInputError when it is another user's, or gone."""
        process = Path("/proc") / str(pid)
        try:
            command = os.fsdecode((process / "cmdline").read_bytes()).split("\0")[:-1]
            lines = os.fsdecode((process / "environ").read_bytes()).split("\0")[:-1]
            folder = (process / "cwd").readlink()
        except OSError as error:
            raise BadInputError(f"the stack (pid {pid}) cannot be looked at: {error.strerror}; be its user") from error
        pairs = [line.partition("=") for line in lines]
        return cls(tuple(command), folder, {name: value for name, _, value in pairs})

    async def start(self, paths: StatePaths) -> StackInfo:
        """Start it, in a session of its own, and return when it is up and its API answers.

        What it says goes to `logs/up.log`. Raises SetupError, with the end of that, when it ends or is too slow.
        """
        log = paths.logs / "up.log"
        begun = log.stat().st_size if log.exists() else 0
        process = self._spawn(log)
        deadline = monotonic() + START_LIMIT.total_seconds()
        while (info := StackInfo.read(paths)) is None or "State folder: " not in tail(log, start=begun):
            if process.poll() is not None or monotonic() > deadline:
                if process.poll() is None:
                    await asyncio.to_thread(stop_stack, paths)
                    process.wait()
                said = "\n".join(f"  {line}" for line in tail(log, start=begun).splitlines()[-8:])
                raise SetupError(f"the stack does not start; the end of {log}:\n{said}")
            await asyncio.sleep(0.1)
        process.returncode = 0  # it outlives us: it is not ours to reap
        return info

    def _spawn(self, log: Path) -> subprocess.Popen[bytes]:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
