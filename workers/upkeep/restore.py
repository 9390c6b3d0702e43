"""`brainops restore`: a backup into an empty state folder, or into an empty database of one's own.

Everything is made in a folder beside the target, which gets its name when all of it is done. On the machine that the
backup is from, services that still run are found again: the records of their processes are in it.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from brainops.config.paths import StatePaths
from brainops.database.embedded import running_postgres
from brainops.database.migrate import current, knows, newest, upgrade
from brainops.database.schema import SCHEMA
from brainops.errors import BadInputError, UnavailableError
from workers.stack.parts import DATABASE_VARIABLE
from workers.upkeep import rows
from workers.upkeep.archive import ArchiveReader, Entry, Header, Manifest, reading, verify
from workers.upkeep.backup import CONFIGURATION, FILES, refuse_without_space
from workers.upkeep.database import connected
from workers.upkeep.marker import mark

Progress = Callable[[str], None]

_SPARE_BYTES = 200_000_000
"""An empty cluster with its write-ahead log."""


class RestoreDone(BaseModel):
    """What was restored."""

    model_config = ConfigDict(frozen=True)

    state_folder: Path
    made_at: str
    brainops: str
    """Version that made the backup."""
    revision: str
    """Of the backup."""
    migrated_to: str
    rows: int
    files: int
    incidents: int
    configuration: Path | None
    """Where the copy of the configuration file is now."""
    configuration_was: str | None


async def restore(
    paths: StatePaths,
    source: Path,
    progress: Progress = lambda _line: None,
    environment: Mapping[str, str] = os.environ,
    *,
    migrate: bool = True,
) -> RestoreDone:
    """Restore `source` into `paths.root`, which must not exist or be empty; all of it or nothing.

    `migrate`: bring an older backup up to date; False leaves the database as it was then.

    Raises BadInputError when the backup is damaged or of a newer BrainOps, or when folder or database is not empty.
    """
    root = paths.root.absolute()
    _refuse_used(root)
    given = environment.get(DATABASE_VARIABLE)
    if given and current(given) is not None:
        raise BadInputError(
            f"the database that {DATABASE_VARIABLE} names holds a BrainOps already; name an empty one, or unset it to "
            "restore into the embedded one"
        )
    progress(f"checking {source}")
    header, manifest = await asyncio.to_thread(verify, source)
    if not knows(header.revision):
        raise BadInputError(
            f"{source} was made by BrainOps {header.brainops} with a database at revision {header.revision}, which this "
            f"one (at {newest()}) does not know; install BrainOps {header.brainops} or newer"
        )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        refuse_without_space(root.parent, manifest.size * 2 + _SPARE_BYTES, "the restore")
        work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", suffix=".restoring", dir=root.parent))
    except OSError as error:
        raise BadInputError(f"{root} cannot be made: {error.strerror}; name another folder with --state-dir") from error
    try:
        work.chmod(0o711)
        done = await _restore(StatePaths(work), root, source, header, manifest, given, progress, migrate)
        _rename(work, root)
    except OSError as error:
        raise UnavailableError(
            f"the restore into {root} failed: {error.strerror or error}; nothing was kept"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return done


async def _restore(
    work: StatePaths,
    root: Path,
    source: Path,
    header: Header,
    manifest: Manifest,
    given: str | None,
    progress: Progress,
    migrate: bool,
) -> RestoreDone:
    mark(work)
    if given:
        try:
            migrated = await asyncio.to_thread(_load, work, source, header, given, progress, migrate)
        except BaseException:
            # It was made by this very run: `current` had found none.
            with connected(given) as connection:
                connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
            raise
    else:
        async with running_postgres(work, timeout_seconds=60) as postgres:
            migrated = await asyncio.to_thread(_load, work, source, header, postgres.owner_url, progress, migrate)
    return RestoreDone(
        state_folder=root,
        made_at=header.made_at.isoformat(),
        brainops=header.brainops,
        revision=header.revision,
        migrated_to=migrated,
        rows=sum(manifest.rows.values()),
        files=sum(name.startswith(f"{FILES}/") for name in manifest.members),
        incidents=manifest.rows.get("incidents", 0),
        configuration=root / CONFIGURATION if CONFIGURATION in manifest.members else None,
        configuration_was=header.config_path,
    )


def _load(work: StatePaths, source: Path, header: Header, owner_url: str, progress: Progress, migrate: bool) -> str:
    """Fill a fresh database and the state folder; the revision that the database is then at."""
    progress("making the tables")
    upgrade(owner_url, work, header.revision)
    with reading(source) as archive, connected(owner_url) as connection:
        entries = archive.entries()
        progress("filling the tables")
        with connection.transaction():
            loaded = rows.load(connection, header.tables, _rows(entries, work.root))
        # Nothing of the rows comes after the files: what is left of the archive was written on the way.
        _compare(loaded, archive)
    if not migrate:
        return header.revision
    progress("bringing the tables up to date")
    upgrade(owner_url, work)
    return newest()


def _rows(entries: Iterator[Entry], root: Path) -> Iterator[Entry]:
    """The rows among the entries; the others become files on the way."""
    for entry in entries:
        area, _, rest = entry.name.partition("/")
        if area == rows.ROWS:
            yield entry
        elif area == FILES and rest:
            _write(entry, root / rest)
        elif entry.name == CONFIGURATION:
            _write(entry, root / CONFIGURATION)
        else:
            raise BadInputError(f"the backup holds {entry.name!r}, which belongs to nothing; it is damaged")


def _write(entry: Entry, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for piece in entry.pieces():
            file.write(piece)
    path.chmod(entry.mode & 0o700)


def _compare(loaded: dict[str, int], archive: ArchiveReader) -> None:
    assert archive.manifest is not None  # noqa: S101 - the entries were read to their end
    for table, count in archive.manifest.rows.items():
        if loaded.get(table) != count:
            raise BadInputError(f"{table} has {loaded.get(table)} rows instead of {count}; the backup is damaged")


def _refuse_used(root: Path) -> None:
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise BadInputError(f"{root} is no folder; name another with --state-dir")
    if root.is_dir() and any(root.iterdir()):
        raise BadInputError(
            f"{root} is not empty, and a restore overwrites nothing; name an empty folder with --state-dir, or remove "
            "this one with `brainops uninstall --purge`"
        )
    if root.is_dir() and os.path.ismount(root):
        raise BadInputError(f"{root} is a mount point, which cannot be replaced; name a folder inside it")


def _rename(work: Path, root: Path) -> None:
    """Give the finished folder its name; an empty folder of that name makes way."""
    work.rename(root)
    descriptor = os.open(root.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
