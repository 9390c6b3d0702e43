"""`brainops uninstall`: everything of ours gone, and every service of the user's still running."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from brainops.config.paths import StatePaths
from brainops.database.os_user import OS_USER, remove_account
from brainops.errors import BadInputError
from brainops.services.records import ServiceFiles
from workers.stack.stopping import stop_stack
from workers.stack.temporal_binary import cache_folder
from workers.upkeep.backup import BACKUPS
from workers.upkeep.marker import MARKER, is_marked

OURS = frozenset(
    {
        "STATE_FOLDER", "api.sock", BACKUPS, "commands", "configuration", "log-kinds", "logs", "objects", "postgres",
        "postgres.failed", "run", "service-commands", "services", "spool", "stack.json", "stack.lock", "temporal",
    }
)  # fmt: skip
"""Everything that BrainOps makes in a state folder."""


class RunningService(BaseModel):
    """A service that goes on running."""

    model_config = ConfigDict(frozen=True)

    name: str
    pid: int


class Removal(BaseModel):
    """What was removed, and what was not."""

    model_config = ConfigDict(frozen=True)

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    running: tuple[RunningService, ...]


@dataclass
class _Told:
    removed: list[str] = field(default_factory=list[str])
    kept: list[str] = field(default_factory=list[str])


def running_services(paths: StatePaths) -> tuple[RunningService, ...]:
    """Services that BrainOps started here and that run now."""
    if not paths.services.is_dir():
        return ()
    found: list[RunningService] = []
    for folder in sorted(paths.services.iterdir()):
        run = ServiceFiles(folder).run()
        if run is not None and run.find_alive() is not None:
            found.append(RunningService(name=folder.name, pid=run.pid))
    return tuple(found)


def refuse_foreign(paths: StatePaths) -> None:
    """Raises BadInputError where the state folder is not wholly ours, and so not ours to remove."""
    if paths.root.exists() and not is_marked(paths):
        raise BadInputError(
            f"{paths.root} is not removed: it has no file {MARKER}, so it is no state folder, or it held other files "
            "before BrainOps used it; name the right one with --state-dir, or remove by hand what is BrainOps'"
        )


def remove(paths: StatePaths, *, purge: bool) -> Removal:
    """Stop the stack; with `purge`, remove state folder, cache and our account too. Services go on running.

    Raises BadInputError, before anything is stopped, for a state folder that is not ours.
    """
    if purge:
        refuse_foreign(paths)
    told = _Told()
    pid = stop_stack(paths)
    if pid is not None:
        told.removed.append(f"the stack (pid {pid}) was stopped")
    running = running_services(paths)
    if not purge:
        if paths.root.exists():
            told.kept.append(f"{paths.root}: the state, for the next `brainops up`; --purge removes it")
        return Removal(removed=tuple(told.removed), kept=tuple(told.kept), running=running)
    _remove_short_sockets(paths, told)
    _remove_state(paths, told)
    _remove_tree(cache_folder(), told)
    if why := remove_account():
        if why != "there is none":
            told.kept.append(f"the user {OS_USER}: {why}")
    else:
        told.removed.append(f"the user {OS_USER}")
    return Removal(removed=tuple(told.removed), kept=tuple(told.kept), running=running)


def _remove_state(paths: StatePaths, told: _Told) -> None:
    if not paths.root.exists():
        return
    # The marker goes last: an uninstall that was interrupted can be repeated.
    for name in sorted(OURS - {MARKER}):
        path = paths.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    foreign = sorted(path.name for path in paths.root.iterdir() if path.name != MARKER)
    (paths.root / MARKER).unlink()
    if foreign:
        told.removed.append(f"{paths.root}: everything of BrainOps")
        told.kept.append(f"{paths.root}: it holds what BrainOps did not make: {', '.join(foreign[:5])}")
        return
    paths.root.rmdir()
    told.removed.append(str(paths.root))


def _remove_short_sockets(paths: StatePaths, told: _Told) -> None:
    """The folder for Postgres' socket, where the path of the state folder is too long for one."""
    record = paths.postgres / "socket_folder"
    if not record.is_file():
        return
    folder = Path(record.read_text(encoding="utf-8").strip())
    if folder.parent == Path("/tmp") and folder.name.startswith("brainops-"):  # noqa: S108 - where it was made
        _remove_tree(folder, told)


def _remove_tree(folder: Path, told: _Told) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
        told.removed.append(str(folder))
