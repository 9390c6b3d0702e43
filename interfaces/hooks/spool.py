"""Events that could not be delivered, or whose work is still to be done: a folder of small files, bounded.

Read by the hook (which must start fast: nothing but `os` is imported here) and by the API, which drains it. A file is
written under another name and renamed, so that a reader sees a whole event or none.
"""

import os
import time
from binascii import crc32
from collections.abc import Mapping

MOST_FILES = 2_000
MOST_BYTES = 64 * 1024 * 1024
MOST_BROKEN = 50
LONGEST_EVENT = 8 * 1024 * 1024
"""Bytes of one event."""

_SUFFIX = ".json"
_DROPPED = "dropped"
_BROKEN = "broken"


def state_folder(environment: Mapping[str, str], user: int) -> str:
    """The stack's state folder, as `brainops.config.paths.StatePaths.default` finds it, without its imports."""
    named = environment.get("BRAINOPS_STATE_DIR")
    if named:
        return os.path.abspath(named)  # noqa: PTH100 - pathlib would take as long as all else here
    if user == 0:
        return "/var/lib/brainops"
    return (environment.get("XDG_DATA_HOME") or _home(environment) + "/.local/share") + "/brainops"


def own_folder(environment: Mapping[str, str]) -> str:
    """Where a user's events wait whose stack is elsewhere, or was never started."""
    return (environment.get("XDG_STATE_HOME") or _home(environment) + "/.local/state") + "/brainops/spool"


def folder_for(environment: Mapping[str, str], user: int) -> str:
    """Where events for the stack of this machine wait: in its state folder, where that may be written."""
    state = state_folder(environment, user)
    return state + "/spool" if os.access(state, os.W_OK | os.X_OK) else own_folder(environment)


def folder_for_server(environment: Mapping[str, str], url: str) -> str:
    """Where events for a team's server wait: apart from those for any other server."""
    name = "".join(sign if sign.isalnum() else "-" for sign in url[:80])
    return f"{own_folder(environment)}-{name}-{crc32(url.encode(errors='replace')):08x}"


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111


class Spool:
    """One folder. The oldest events make room for new ones, and are counted."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def put(self, body: bytes) -> str:
        """Keep an event; returns its name. Raises OSError when the folder cannot be written."""
        os.makedirs(self.folder, 0o700, exist_ok=True)  # noqa: PTH103
        self._make_room(len(body))
        name = f"{time.time_ns():020d}-{os.getpid()}{_SUFFIX}"
        _write(f"{self.folder}/{name}", body)
        return name

    def names(self) -> list[str]:
        """Events that wait, oldest first."""
        try:
            with os.scandir(self.folder) as entries:
                return sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes | None:
        """One event; None when somebody else has taken it. A file beyond the limit is cut there."""
        try:
            descriptor = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read(LONGEST_EVENT)

    def remove(self, name: str) -> None:
        """It was delivered."""
        _unlink(f"{self.folder}/{name}")

    def set_aside(self, name: str) -> None:
        """It cannot be understood: keep it under `broken/`, for a person to look at."""
        self._prepare_broken()
        try:
            os.rename(f"{self.folder}/{name}", f"{self.folder}/{_BROKEN}/{name}")  # noqa: PTH104
        except FileNotFoundError:
            return

    def put_broken(self, body: bytes) -> None:
        """Keep what is no event at all under `broken/`."""
        self._prepare_broken()
        _write(f"{self.folder}/{_BROKEN}/{time.time_ns():020d}-{os.getpid()}", body[:LONGEST_EVENT])

    @property
    def dropped(self) -> int:
        """How many events had to make room since the folder was made."""
        try:
            with open(f"{self.folder}/{_DROPPED}", "rb") as file:  # noqa: PTH123
                return int(file.read(20) or b"0")
        except (FileNotFoundError, ValueError):
            return 0

    def _prepare_broken(self) -> None:
        folder = f"{self.folder}/{_BROKEN}"
        os.makedirs(folder, 0o700, exist_ok=True)  # noqa: PTH103
        kept = sorted(os.listdir(folder))  # noqa: PTH208
        for name in kept[: max(0, len(kept) - MOST_BROKEN + 1)]:
            _unlink(f"{folder}/{name}")

    def _make_room(self, needed: int) -> None:
        sizes: list[tuple[str, int]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    try:
                        sizes.append((entry.name, entry.stat(follow_symlinks=False).st_size))
                    except FileNotFoundError:  # it was delivered this moment
                        continue
        count, total = len(sizes), sum(size for _, size in sizes)
        dropped = 0
        for name, size in sorted(sizes):
            if count < MOST_FILES and total + needed <= MOST_BYTES:
                break
            _unlink(f"{self.folder}/{name}")
            count, total, dropped = count - 1, total - size, dropped + 1
        if dropped:
            _write(f"{self.folder}/{_DROPPED}", str(self.dropped + dropped).encode())


def _write(path: str, body: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    os.rename(temporary, path)  # noqa: PTH104


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
