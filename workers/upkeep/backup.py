"""`brainops backup`: BrainOps' own state in one file, while the stack runs or not.

Rows are of one instant. Objects (histories, evidence, known-good files) are copied after it, so whatever a row names
is there; one that was deleted meanwhile is named by no row that matters. Temporal's file is left out: open plans are
taken up from their rows. So are the services' output and every password: those of the database are made anew.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict

from brainops.config.paths import StatePaths
from brainops.errors import BadInputError, SetupError, UnavailableError
from workers.stack.state import StackInfo
from workers.upkeep import rows
from workers.upkeep.archive import FORMAT, ArchiveWriter, Header, Manifest, verify, writing
from workers.upkeep.database import OwnedDatabase, connected, owned_database
from workers.upkeep.marker import MARKER

Progress = Callable[[str], None]

CONFIGURATION = "configuration/brainops.yaml"
FILES = "state"
"""Folder of the backup in which the state folder's files are."""

BACKUPS = "backups"
"""Where BrainOps keeps the backups that it makes by itself."""

LEFT_OUT = frozenset(
    {
        "postgres",
        "temporal",
        "logs",
        "run",
        BACKUPS,
        "postgres.failed",
        "stack.json",
        "stack.lock",
        "api.sock",
        "configuration",
        MARKER,
    }
)
"""What of the state folder is not copied: servers' files, whatever says who runs now, and other backups."""

_OUTPUT = "output."
_TOLD_EVERY = 2000


class BackupDone(BaseModel):
    """What was backed up."""

    model_config = ConfigDict(frozen=True)

    file: Path
    bytes: int
    made_at: datetime
    revision: str
    rows: int
    files: int
    incidents: int


async def back_up(
    paths: StatePaths,
    target: Path,
    version: str,
    config_path: Path | None = None,
    progress: Progress = lambda _line: None,
    environment: Mapping[str, str] = os.environ,
) -> BackupDone:
    """Write `target` (mode 0600), read it back, and say what is in it. Nothing is left where that fails.

    `version`: of this BrainOps. `config_path`: the configuration to include; default: the running stack's. Raises
    BadInputError when `target` exists or there is nothing to back up, UnavailableError when Postgres or the disk fails.
    """
    target = target.absolute()
    if target.exists():
        raise BadInputError(f"{target} exists already; name another file, or remove it")
    if not target.parent.is_dir():
        raise BadInputError(f"there is no folder {target.parent}; make it first")
    async with owned_database(paths, environment) as database:
        return await asyncio.to_thread(_write, paths, database, target, version, config_path, progress)


def _write(
    paths: StatePaths,
    database: OwnedDatabase,
    target: Path,
    version: str,
    config_path: Path | None,
    progress: Progress,
) -> BackupDone:
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with connected(database.owner_url) as connection:
                header, manifest = _fill(file, connection, paths, database, version, config_path, progress)
            file.flush()
            os.fsync(file.fileno())
        progress("reading it back")
        if verify(partial) != (header, manifest):
            raise UnavailableError(f"what was written to {target} reads back differently; is the disk failing?")
        os.link(partial, target)  # unlike a rename, it never replaces a file that somebody made meanwhile
    except FileExistsError as error:
        raise BadInputError(f"{target} exists already; name another file, or remove it") from error
    except OSError as error:
        raise UnavailableError(f"the backup cannot be written to {target}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return BackupDone(
        file=target,
        bytes=target.stat().st_size,
        made_at=header.made_at,
        revision=header.revision,
        rows=sum(manifest.rows.values()),
        files=sum(name.startswith(f"{FILES}/") for name in manifest.members),
        incidents=manifest.rows.get("incidents", 0),
    )


def _fill(
    file: BinaryIO,
    connection: rows.Connection,
    paths: StatePaths,
    database: OwnedDatabase,
    version: str,
    config_path: Path | None,
    progress: Progress,
) -> tuple[Header, Manifest]:
    info = StackInfo.read(paths)
    configuration = config_path or (info.config_path if info else None)
    rows.begin_snapshot(connection)
    header = Header(
        format=FORMAT,
        brainops=version,
        revision=rows.revision(connection),
        made_at=datetime.now(UTC),
        host=socket.gethostname(),
        state_folder=str(paths.root),
        config_path=str(configuration) if configuration else None,
        database=database.kind,
        tables=rows.tables(connection),
    )
    with writing(file, header) as archive:
        counted = _add_rows(archive, connection, header, progress)
        if configuration and not archive.add_file(CONFIGURATION, configuration):
            raise BadInputError(f"the configuration {configuration} cannot be read; name it with --config")
        _add_files(archive, paths, progress)
        manifest = archive.finish(counted)
    connection.execute("COMMIT")
    return header, manifest


def _add_rows(
    archive: ArchiveWriter, connection: rows.Connection, header: Header, progress: Progress
) -> dict[str, int]:
    counted: dict[str, int] = {}
    for table in header.tables:
        counted[table.name] = rows.count(connection, table)
        for number, piece in enumerate(rows.dump(connection, table)):
            archive.add(rows.member_name(table, number), piece)
        if counted[table.name]:
            progress(f"{table.name}: {counted[table.name]} rows")
    return counted


def _add_files(archive: ArchiveWriter, paths: StatePaths, progress: Progress) -> None:
    added = 0
    for path in state_files(paths.root):
        if archive.add_file(f"{FILES}/{path.relative_to(paths.root).as_posix()}", path):
            added += 1
            if added % _TOLD_EVERY == 0:
                progress(f"{added} files")
    progress(f"{added} files of objects and services")


def state_files(root: Path) -> Iterator[Path]:
    """The files of a state folder that belong into a backup."""
    for folder, names, files in os.walk(root):
        here = Path(folder)
        left_out = LEFT_OUT if here == root else frozenset[str]()
        names[:] = sorted(name for name in names if name not in left_out)
        yield from (here / name for name in sorted(files) if name not in left_out and not name.startswith(_OUTPUT))


def state_size(root: Path) -> int:
    """About how many bytes a backup of it holds before it is compressed."""
    cluster = root / "postgres" / "data" / "base"
    of_rows = sum(path.stat().st_size for path in cluster.rglob("*") if path.is_file()) if cluster.is_dir() else 0
    return of_rows + sum(path.stat().st_size for path in state_files(root))


def refuse_without_space(folder: Path, needed: int, what: str) -> None:
    """Raises SetupError where `folder`'s disk has less than `needed` bytes left."""
    status = os.statvfs(folder)
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise SetupError(
            f"{what} needs about {needed / 1e6:.0f} MB in {folder}, and {free / 1e6:.0f} MB are free; make room there"
        )
