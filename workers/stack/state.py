"""Which stack runs on a state folder: the lock that makes it one, and the file that tells others where it is."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from brainops.config.paths import StatePaths
from brainops.errors import ConflictError
from workers.upkeep.marker import mark


class StackInfo(BaseModel):
    """What `stack.json` says of the running stack. Mode 0600: it holds the database's password."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    start_ticks: int
    """Start time of `pid` in clock ticks since boot: tells it from a later process of the same number."""
    temporal_address: str
    """Empty where the stack is memory alone."""
    temporal_embedded: bool
    ui_url: str | None
    """None where the Temporal server is not ours."""
    database_url: str
    """As the app role."""
    api_url: str
    api_socket: Path
    config_path: Path | None
    state_folder: Path
    applications: int = 0
    """How often the stack was asked to read its file anew since it started."""
    apply_problem: str = ""
    """Why the last time changed nothing; empty if it did."""

    @property
    def memory_only(self) -> bool:
        """Whether it was started with `--only memory`: no Temporal, no workers, nothing is watched."""
        return not self.temporal_address

    @classmethod
    def read(cls, paths: StatePaths) -> Self | None:
        """The stack that runs on this state folder; None when none does (a file that a killed one left is not it)."""
        try:
            info = cls.model_validate_json(paths.stack_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return info if start_ticks(info.pid) == info.start_ticks else None

    def write(self, paths: StatePaths) -> None:
        """Write the file, at once or not at all."""
        temporary = paths.stack_file.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.model_dump_json(indent=2))
        temporary.replace(paths.stack_file)


def start_ticks(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; None when there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return None if fields[0] == "Z" else int(fields[19])


def lock_holder(paths: StatePaths) -> int | None:
    """Pid of the process that holds the state folder, also while its stack only starts; None when none does."""
    try:
        descriptor = os.open(paths.lock_file, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(descriptor, 32, 0) or 0) or None
    finally:
        os.close(descriptor)
    return None


class StackLock:
    """Held by the one stack of a state folder; the kernel releases it when that process ends in any way."""

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take it. Raises ConflictError, which names the holder's pid, when another process has it."""
        self._paths.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        mark(self._paths)
        descriptor = os.open(self._paths.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            os.close(descriptor)
            raise ConflictError(
                f"BrainOps runs already on {self._paths.root} (pid {holder}). Stop it with `brainops down`, or use another "
                "state folder: BRAINOPS_STATE_DIR=/some/where brainops up"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back, and remove the file that said where the stack is."""
        if self._descriptor is None:
            return
        with suppress(FileNotFoundError):
            self._paths.stack_file.unlink()
        os.close(self._descriptor)
        self._descriptor = None
