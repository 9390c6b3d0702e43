"""Where a log check reads: only what is new since the last look, and never more of it than can be looked at.

Every source begins at the end of what is there, or so much before it as is asked for. What is more than one look may
read is passed over and told.
"""

import os
import stat
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from brainops.config.models import Service
from brainops.services import logs
from brainops.services.host import HostServices
from brainops.services.records import ServiceFiles

LOOK_LIMIT = 1 << 20
"""Bytes that one look reads."""

TAIL_LIMIT = 256 * 1024
"""Bytes that are asked of an engine or a journal, of which only what is new counts."""

_ALIGNED = 512
_ALIGNMENTS = 64


class UnreadableError(Exception):
    """The log cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class News:
    """What was written since the last look. `skipped`: bytes that were too many to look at."""

    text: bytes = b""
    skipped: int = 0


class Source(ABC):
    """One log. Blocking: to be asked in a thread."""

    @abstractmethod
    def begin(self, back: int) -> News:
        """Begin at the end, and answer with at most `back` bytes before it. Raises UnreadableError."""

    @abstractmethod
    def news(self) -> News:
        """What was written since. Raises UnreadableError."""


class OutputSource(Source):
    """The output of a process that BrainOps started."""

    def __init__(self, files: ServiceFiles) -> None:
        self._files = files
        self._position = 0

    def begin(self, back: int) -> News:
        self._position = max(0, logs.end(self._files) - min(back, LOOK_LIMIT))
        return self.news() if back else News()

    def news(self) -> News:
        before = self._position
        text, self._position = logs.since(self._files, before, LOOK_LIMIT)
        return News(text, max(0, self._position - before - len(text)))


class FileSource(Source):
    """A file, through rotation by renaming and by cutting. It may be missing for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: int | None = None
        """The file that is being read: what is written to it after it was renamed is not lost."""
        self._begun = False

    def begin(self, back: int) -> News:
        self._begun = True
        self.close()
        descriptor = self._opened()
        if descriptor is None:
            return News()
        self._open = descriptor
        os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - min(back, LOOK_LIMIT)), os.SEEK_SET)
        return self._rest(descriptor) if back else News()

    def news(self) -> News:
        if not self._begun:
            return self.begin(0)
        current = self._opened()
        if self._open is None:
            self._open = current
            return News() if current is None else self._rest(current)
        if current is None:  # renamed, and the new one is not there yet
            return self._rest(self._open)
        if _same(current, self._open):
            os.close(current)
            return self._rest(self._open)
        older = self._rest(self._open)
        os.close(self._open)
        self._open = current
        newer = self._rest(current)
        return News(older.text + newer.text, older.skipped + newer.skipped)

    def close(self) -> None:
        """Give the file back."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def _opened(self) -> int | None:
        """The file that stands there now; None if there is none."""
        try:
            self._refuse_special(self._path.stat())
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnreadableError(f"{self._path} cannot be read: {error.strerror}") from error
        try:
            self._refuse_special(os.fstat(descriptor))
        except UnreadableError:
            os.close(descriptor)
            raise
        return descriptor

    def _refuse_special(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError(f"{self._path} is no regular file; name the file that the service writes to")

    def _rest(self, descriptor: int) -> News:
        """From where the last look stopped to the end; from the beginning where the file was cut."""
        try:
            at, size = os.lseek(descriptor, 0, os.SEEK_CUR), os.fstat(descriptor).st_size
            if size < at:
                at = 0
            first = max(at, size - LOOK_LIMIT)
            os.lseek(descriptor, first, os.SEEK_SET)
            parts: list[bytes] = []
            left = size - first
            while left > 0 and (part := os.read(descriptor, left)):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise UnreadableError(f"{self._path} cannot be read: {error.strerror}") from error
        return News(b"".join(parts), first - at)


def new_part(before: bytes, now: bytes) -> bytes:
    """What of a tail is new, when `before` was the tail at the last look: what follows where the two overlap."""
    if not before:
        return now
    if now.startswith(before):
        return now[len(before) :]
    # it slid: its beginning stands somewhere in the earlier one
    for head in (now[:_ALIGNED], now[: now.find(b"\n") + 1]):
        at = -1
        for _ in range(_ALIGNMENTS if head else 0):
            at = before.find(head, at + 1)
            if at < 0:
                break
            if now.startswith(before[at:]):
                return now[len(before) - at :]
    return now


class TailSource:
    """What an engine or a journal keeps of a service's output: asked for its end, again and again."""

    def __init__(self, services: HostServices, name: str, service: Service) -> None:
        self._services = services
        self._name = name
        self._service = service
        self._before: bytes | None = None

    async def begin(self, back: int) -> News:
        """As `Source.begin`."""
        self._before = await self._tail()
        return News(self._before[-back:] if back else b"")

    async def news(self) -> News:
        """As `Source.news`."""
        if self._before is None:
            return await self.begin(0)
        now = await self._tail()
        new = new_part(self._before, now)
        self._before = now
        return News(new)

    async def _tail(self) -> bytes:
        return await self._services.tail(self._name, self._service, TAIL_LIMIT, since_start=False)


def _same(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)
