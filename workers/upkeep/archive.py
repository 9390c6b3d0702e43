"""The file of a backup: a compressed tar that is written and read as a stream, and that says itself whether it is whole.

`header.json` comes first (is this ours, and can this BrainOps read it), `manifest.json` last, with the length and the
SHA-256 of everything between: a file that was cut off has no manifest. Memory stays bounded whatever the sizes are.
"""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from brainops.errors import BadInputError

FORMAT = 1
HEADER = "header.json"
MANIFEST = "manifest.json"
PIECE_BYTES = 4 * 1024 * 1024
"""Largest part of a table that is held in memory."""

_LARGEST_DOCUMENT = 64 * 1024 * 1024
_LEVEL = 6
_UNREADABLE = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error)


class Partition(BaseModel):
    """One partition of a table: of a range from `start` to before `end`, or of one `value`."""

    model_config = ConfigDict(frozen=True)

    name: str
    start: str = ""
    end: str = ""
    value: str | None = None


class Table(BaseModel):
    """A table in the backup."""

    model_config = ConfigDict(frozen=True)

    name: str
    columns: tuple[str, ...]
    partitions: tuple[Partition, ...] = ()


class Header(BaseModel):
    """What a backup is of."""

    model_config = ConfigDict(frozen=True)

    format: int
    brainops: str
    """Version of the BrainOps that made it."""
    revision: str
    """Of the database, by its last migration."""
    made_at: datetime
    host: str
    state_folder: str
    config_path: str | None
    """Where the configuration file stood that is in the backup; None: there was none."""
    database: Literal["embedded", "given"]
    tables: tuple[Table, ...]
    """In an order in which they can be filled."""


class Member(BaseModel):
    """One file in the backup."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class Manifest(BaseModel):
    """Everything that is in the backup."""

    model_config = ConfigDict(frozen=True)

    members: dict[str, Member]
    rows: dict[str, int]
    """Of each table."""

    @property
    def size(self) -> int:
        """Bytes of all members, unpacked."""
        return sum(member.size for member in self.members.values())


class ArchiveWriter:
    """Writes a backup. `finish` makes it whole."""

    def __init__(self, archive: tarfile.TarFile, header: Header) -> None:
        self._archive = archive
        self._members: dict[str, Member] = {}
        self.add(HEADER, header.model_dump_json(indent=2).encode())

    def add(self, name: str, content: bytes) -> None:
        """Add a member that is in memory."""
        self._add(name, io.BytesIO(content), len(content))

    def add_file(self, name: str, path: Path) -> bool:
        """Add a file as long as it is now; False where it is gone, or no plain file."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return False
            self._add(name, file, status.st_size, status.st_mode & 0o777)
        return True

    def finish(self, rows: dict[str, int]) -> Manifest:
        """Write what makes the archive whole."""
        manifest = Manifest(members=self._members, rows=rows)
        content = manifest.model_dump_json().encode()
        self._archive.addfile(_described(MANIFEST, len(content), 0o600), io.BytesIO(content))
        return manifest

    def _add(self, name: str, content: IO[bytes], size: int, mode: int = 0o600) -> None:
        hashing = _Hashing(content, size)
        self._archive.addfile(_described(name, size, mode), cast("IO[bytes]", hashing))
        _forget(self._archive)
        self._members[name] = Member(size=size, sha256=hashing.hexdigest())


class _Hashing:
    """A file of exactly `size` bytes, hashed while it is read: what is missing at its end is filled with zeros."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content = content
        self._left = size
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        found = self._content.read(wanted)
        # It was cut while we read: the archive holds what there was, and says so by no error of ours.
        found += b"\0" * (wanted - len(found))
        self._left -= wanted
        self._digest.update(found)
        return found

    def hexdigest(self) -> str:
        """Of all that was read."""
        return self._digest.hexdigest()


@contextmanager
def writing(file: BinaryIO, header: Header) -> Generator[ArchiveWriter]:
    """A writer of a backup into `file`, which the caller opened, syncs and closes."""
    with (
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL) as compressed,
        tarfile.open(fileobj=compressed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        yield ArchiveWriter(archive, header)


class ArchiveReader:
    """Reads a backup, once, from its beginning. `header` is there at once, `manifest` after the last entry."""

    def __init__(self, path: Path, archive: tarfile.TarFile) -> None:
        self._path = path
        self._archive = archive
        self._found: dict[str, Member] = {}
        self.manifest: Manifest | None = None
        first = next(self._stored(), None)
        if first is None or first.name != HEADER:
            raise BadInputError(f"{path} is no backup of BrainOps; `brainops backup FILE` makes one")
        self.header = self._parse_header(first.read())
        self._found[HEADER] = first.member()

    def entries(self) -> Iterator["Entry"]:
        """Every member but header and manifest, in order; then all that was read is compared with the manifest.

        Raises BadInputError for a file that is damaged, cut off or not a backup.
        """
        for entry in self._stored():
            if entry.name == MANIFEST:
                self.manifest = self._parse_manifest(entry.read())
            elif self.manifest is not None:
                raise self._damaged(f"{entry.name} comes after the end")
            else:
                yield entry
                entry.drain()
                self._found[entry.name] = entry.member()
        if self.manifest is None:
            raise self._damaged("its end is missing: it was cut off")
        for name, member in self.manifest.members.items():
            if self._found.get(name) != member:
                raise self._damaged(f"{name} is not as it was written")
        if extra := self._found.keys() - self.manifest.members.keys():
            raise self._damaged(f"{min(extra)} does not belong to it")

    def _stored(self) -> Iterator["Entry"]:
        try:
            while (info := self._archive.next()) is not None:
                _forget(self._archive)
                content = self._archive.extractfile(info) if info.isfile() else None
                if content is None or not _is_plain(info.name):
                    raise self._damaged(f"{info.name!r} is not a plain file")
                yield Entry(info.name, info.size, info.mode & 0o777, content)
        except _UNREADABLE as error:
            raise self._damaged(str(error) or type(error).__name__) from error

    def _parse_header(self, content: bytes) -> Header:
        try:
            loose = json.loads(content)
            version = loose["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadInputError(f"{self._path} is no backup of BrainOps; `brainops backup FILE` makes one") from error
        if version != FORMAT:
            raise BadInputError(
                f"{self._path} has format {version!r}, and this BrainOps reads format {FORMAT}; install BrainOps "
                f"{loose.get('brainops', 'of that time')!s:.40} or newer"
            )
        try:
            return Header.model_validate(loose)
        except ValidationError as error:
            raise self._damaged("its header cannot be read") from error

    def _parse_manifest(self, content: bytes) -> Manifest:
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            raise self._damaged("its manifest cannot be read") from error

    def _damaged(self, why: str) -> BadInputError:
        return BadInputError(f"the backup {self._path} is damaged: {why}; use another one")


class Entry:
    """A member while the archive is read; its content can be read once, before the next entry is asked for."""

    def __init__(self, name: str, size: int, mode: int, content: IO[bytes]) -> None:
        self.name = name
        self.size = size
        self.mode = mode
        self._content = content
        self._digest = hashlib.sha256()

    def pieces(self) -> Iterator[bytes]:
        """The content in pieces of bounded size."""
        while piece := self._next():
            self._digest.update(piece)
            yield piece

    def _next(self) -> bytes:
        try:
            return self._content.read(PIECE_BYTES)
        except _UNREADABLE as error:
            raise BadInputError(
                f"the backup is damaged: {self.name} cannot be read ({error}); use another one"
            ) from error

    def read(self) -> bytes:
        """The content of a document, of bounded size."""
        if self.size > _LARGEST_DOCUMENT:
            raise BadInputError(f"{self.name} in the backup has {self.size} bytes; it is damaged")
        return b"".join(self.pieces())

    def drain(self) -> None:
        """Read what was not read."""
        for _ in self.pieces():
            pass

    def member(self) -> Member:
        """Length and hash, once all was read."""
        return Member(size=self.size, sha256=self._digest.hexdigest())


@contextmanager
def reading(path: Path) -> Generator[ArchiveReader]:
    """A reader of the backup. Raises BadInputError when it is none, or one that this BrainOps cannot read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInputError(f"the backup {path} cannot be read: {error.strerror}") from error
    with file, gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
        try:
            archive = tarfile.open(fileobj=unpacked, mode="r|")  # noqa: SIM115 - closed below
        except _UNREADABLE as error:
            raise BadInputError(
                f"{path} is no backup of BrainOps ({error}); `brainops backup FILE` makes one"
            ) from error
        with archive:
            yield ArchiveReader(path, archive)


def verify(path: Path) -> tuple[Header, Manifest]:
    """Read all of a backup and compare it with its manifest. Raises BadInputError when it is not whole."""
    with reading(path) as archive:
        for entry in archive.entries():
            entry.drain()
        assert archive.manifest is not None  # noqa: S101 - `entries` ends with it or raises
        return archive.header, archive.manifest


def _forget(archive: tarfile.TarFile) -> None:
    """A stream is not read twice: the list of its members, which would grow with them, is not needed."""
    archive.members = []  # pyright: ignore[reportAttributeAccessIssue]  its stubs leave it out


def _described(name: str, size: int, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = mode
    return info


def _is_plain(name: str) -> bool:
    return all(part not in {"", ".", ".."} for part in name.split("/")) and "\0" not in name
