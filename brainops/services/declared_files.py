"""Reading and writing one file of a service so that nothing is lost on the way.

A file is replaced as a whole, with its mode and owner, and through no symbolic link.
"""

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from brainops.errors import ActionError

KEPT_LIMIT = 8 * 2**20
"""Bytes of a file of which a good version is kept."""

BACKUP_LIMIT = 64 * 2**20
"""Bytes of a file that may be replaced, since what stood there is kept for the undo."""


@dataclass(frozen=True)
class Content:
    """A regular file as it was read, whole and unchanged meanwhile."""

    data: bytes
    mode: int
    changed_at: float
    """The later one of its times of change and of change of mode, owner or name, in seconds since the epoch."""

    @property
    def sha256(self) -> str:
        """Names the content."""
        return hashlib.sha256(self.data).hexdigest()


class Before(BaseModel):
    """What stood at a path before it was restored."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    path: str
    """As declared."""
    kind: Literal["file", "link", "nothing"]
    data: bytes = b""
    """Content of a file; target of a link."""
    mode: int = 0
    uid: int = -1
    gid: int = -1


def read_regular(path: Path, limit: int) -> Content | None:
    """A regular file; None when it is something else, larger than `limit`, or being written. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode) or before.st_size > limit:
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(data) != after.st_size or (before.st_mtime_ns, before.st_ctime_ns) != (after.st_mtime_ns, after.st_ctime_ns):
        return None
    return Content(data, stat.S_IMODE(after.st_mode), max(after.st_mtime, after.st_ctime))


def read_before(declared: str, path: Path) -> Before:
    """What stands at `path`, to be put back. Raises ActionError for what cannot be kept."""
    try:
        status = path.lstat()
        owner = {"mode": stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
        if stat.S_ISLNK(status.st_mode):
            return Before(path=declared, kind="link", data=os.fsencode(path.readlink()), **owner)
        content = read_regular(path, BACKUP_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return Before(path=declared, kind="nothing")
    except OSError as error:
        raise ActionError(f"{path} cannot be kept for the undo, so it is not replaced: {error.strerror}") from error
    if content is None:
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no plain file, too large or being written"
        raise ActionError(f"{path} is {what}, so it cannot be kept for the undo and is not replaced; move it away")
    return Before(path=declared, kind="file", data=content.data, **owner)


def replace(path: Path, data: bytes, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write a file as a whole. `owner`: by default that of what stands there, else of its folder. Raises ActionError."""
    temporary = path.with_name(f".{path.name}.brainops-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        uid, gid = owner or _owner(path)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # its folder may be what is wrong
            temporary.unlink()
        raise ActionError(f"{path} cannot be written: {error.strerror}") from error


def put_back(path: Path, before: Before) -> None:
    """Make `path` what it was. Raises ActionError."""
    if before.kind == "file":
        replace(path, before.data, before.mode, (before.uid, before.gid))
        return
    try:
        path.unlink(missing_ok=True)
        if before.kind == "link":
            path.symlink_to(os.fsdecode(before.data))
    except OSError as error:
        raise ActionError(f"{path} cannot be put back: {error.strerror}") from error


def _owner(path: Path) -> tuple[int, int]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        status = path.parent.stat()
    return status.st_uid, status.st_gid
