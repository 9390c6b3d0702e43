"""Which kinds of error lines a service has written before: kept beside its state, for as long as it is watched.

A kind is the template of a line (`telemetry/templates.py`). What a service writes on an ordinary day is learned
first, silently; after that a kind that was never there is news.
"""

import json
import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

KINDS_KEPT = 500
"""Of one check; those that were seen longest ago are forgotten first."""

LEARNING_SECONDS = 24 * 3600.0
LEARNING_LINES = 10_000
"""A check that was watched so long, or has read so many lines, knows what is ordinary."""

_FILE_LIMIT = 1 << 20

log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class _Kept(BaseModel):
    """What stands in the file."""

    model_config = ConfigDict(extra="ignore")

    since: float
    """When the learning began; seconds since 1970."""
    lines: int = Field(default=0, ge=0)
    kinds: list[str] = Field(default_factory=list[str], max_length=KINDS_KEPT)


class KnownKinds:
    """The kinds that one check knows. `file`: where they are kept. Blocking: to be used in a thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._told = False
        kept = _read(file)
        self.fresh = kept is None
        """Whether nothing was known of it before."""
        self._since = kept.since if kept is not None else time.time()
        self._lines = kept.lines if kept is not None else 0
        self._kinds: OrderedDict[str, None] = OrderedDict.fromkeys(kept.kinds if kept is not None else ())

    @property
    def learning(self) -> bool:
        """Whether it still learns what is ordinary. A clock that was set back does not begin it anew."""
        return self._lines < LEARNING_LINES and time.time() - self._since < LEARNING_SECONDS

    def take(self, lines: int, kinds: list[str]) -> list[str]:
        """Take in what a look found: which of `kinds` are new, in order. None are while it learns."""
        learning = self.learning
        new: list[str] = []
        for kind in kinds:
            if kind not in self._kinds:
                new.append(kind)
            self._kinds[kind] = None
            self._kinds.move_to_end(kind)
        while len(self._kinds) > KINDS_KEPT:
            self._kinds.popitem(last=False)
        self._lines += lines
        if new or (learning and lines):
            self._write()
        return [] if learning else new

    def _write(self) -> None:
        kept = _Kept(since=self._since, lines=self._lines, kinds=list(self._kinds))
        temporary = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(kept.model_dump_json())
            temporary.replace(self._file)
        except OSError as error:
            if not self._told:
                log.warning("kinds of log lines cannot be kept", file=str(self._file), reason=error.strerror)
            self._told = True


def _read(file: Path) -> _Kept | None:
    """What is kept; None for nothing, and for what cannot be read: then it is learned anew."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(_FILE_LIMIT)
        value: Any = json.loads(raw)  # Any: whatever stands there
        return _Kept.model_validate(value)
    except (OSError, ValueError, ValidationError):
        return None
