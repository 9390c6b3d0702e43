"""What a service writes: the tail of it since its last start, and a bound on how much is kept.

The service holds the file open, so it cannot be renamed away: rotation copies and cuts it (it is opened for
appending, so writing goes on at its new end). Positions are counted in bytes of the service's whole life, and
`output.discarded` holds how many of them stand no longer in `output.log`.
"""

import os
import shutil
from pathlib import Path

from brainops.services.records import ServiceFiles

LOG_LIMIT = 16 * 2**20
"""Bytes after which a log is rotated. Twice as much is kept at most."""


def tail(files: ServiceFiles, max_bytes: int, *, since_start: bool = True) -> bytes:
    """The last output, at most `max_bytes`, across a rotation; only of the newest start if `since_start`."""
    run = files.run()
    discarded, size = _discarded(files), _size(files.log)
    first = run.log_offset if since_start and run is not None else 0
    if first > discarded + size:  # cut by somebody else: what stands there is all that is left
        first = discarded
    begin = max(first, discarded + size - max_bytes)
    older = _last_bytes(files.rotated_log, discarded - begin) if begin < discarded else b""
    return older + _last_bytes(files.log, min(size, discarded + size - begin))


def end(files: ServiceFiles) -> int:
    """How many bytes the service has written in its whole life."""
    return _discarded(files) + _size(files.log)


def since(files: ServiceFiles, position: int, max_bytes: int) -> tuple[bytes, int]:
    """What was written after `position`, at most the last `max_bytes` of it, across a rotation; and where it ends.

    What is kept no longer is left out. A position beyond the end (the log was cut by somebody else) begins anew.
    """
    discarded, size = _discarded(files), _size(files.log)
    last = discarded + size
    first = discarded if position > last else max(position, last - max_bytes)
    if first >= last:
        return b"", last
    older = _last_bytes(files.rotated_log, discarded - first) if first < discarded else b""
    begin = max(first, discarded)
    return older + _bytes_at(files.log, begin - discarded, last - begin), last


def too_long(files: ServiceFiles, limit: int) -> bool:
    """Whether the log holds more than `limit` bytes."""
    return _size(files.log) > limit


def rotate(files: ServiceFiles, limit: int = LOG_LIMIT) -> bool:
    """Cut the log if it holds more than `limit` bytes; its last `limit` bytes are kept beside it."""
    if not too_long(files, limit):
        return False
    with files.log.open("rb+") as log:
        size = os.fstat(log.fileno()).st_size
        log.seek(size - limit)
        temporary = files.rotated_log.with_suffix(".tmp")
        with temporary.open("wb") as kept:
            temporary.chmod(0o600)
            shutil.copyfileobj(log, kept)
        temporary.rename(files.rotated_log)
        cut = os.fstat(log.fileno()).st_size
        log.truncate(0)
    _write_discarded(files, _discarded(files) + cut)
    return True


def _discarded(files: ServiceFiles) -> int:
    try:
        return int(files.discarded.read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _write_discarded(files: ServiceFiles, count: int) -> None:
    temporary = files.discarded.with_suffix(".tmp")
    temporary.write_text(str(count))
    temporary.chmod(0o600)
    temporary.rename(files.discarded)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last_bytes(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - count))
            return file.read(count)
    except FileNotFoundError:
        return b""


def _bytes_at(path: Path, begin: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(count)
    except FileNotFoundError:
        return b""
