"""Runbooks: what people know of a fault, as Markdown with a front matter that a program can read.

The text is for people; it is linked, never carried out. The front matter says which faults it is for, which remedies
to try in which order, and what must hold before the fault counts as mended:

    ---
    title: The cache is full
    when:
      - {kind: errors, pattern: "OOM command not allowed"}
    actions: [run_command:evict, restart]
    verification: {checks: [front], hold: 30s}
    services: ["shop-*"]
    ---

A remedy is still tried only where the evidence, the configuration and the autonomy allow it.
"""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Annotated

import structlog
from pydantic import Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from brainops.config.document import Document, Position, read
from brainops.config.mistakes import Mistake, dotted, meant
from brainops.config.patterns import Pattern, compiled
from brainops.config.quantities import Duration
from brainops.config.section import Section
from brainops.contracts.incident import Signature
from brainops.errors import BadInputError
from brainops.memory.similarity import Likeness

MAX_BYTES = 64 * 1024
"""Of one runbook."""

MAX_COUNT = 200
"""Runbooks of a folder."""

_FENCE = "---"
_NOT_A_RUNBOOK = frozenset({"readme.md"})

_log = structlog.get_logger("runbooks")

Glob = Annotated[str, StringConstraints(min_length=1, max_length=100)]
"""A name in which `*` stands for any text and `?` for one character."""


class FaultPattern(Section):
    """Faults that a runbook is for. What is not said may be anything."""

    kind: Glob = "*"
    """Kind of the fault, such as `crash` or `hang`: the first part of a signature."""
    check: Glob = "*"
    """Kind of the failing check: the second part."""
    reason: Glob = "*"
    """Why it failed: the third part."""
    pattern: Pattern | None = None
    """A regular expression (RE2) that the error line, or its template, must contain."""

    def matches(self, signature: Signature, line: str) -> bool:
        """Whether a fault of this signature, with this error line, is meant."""
        fault = Likeness.of(signature)
        # A crash loop has the key of a crash, and is meant by either word.
        if not any(fnmatchcase(kind, self.kind) for kind in (signature.kind.value, fault.kind)):
            return False
        if not fnmatchcase(fault.check, self.check) or not fnmatchcase(fault.reason, self.reason):
            return False
        if self.pattern is None:
            return True
        expression = compiled(self.pattern)
        return bool(expression.search(line) or expression.search(signature.template))


class HoldRule(Section):
    """What must hold, beside the service's own checks, before a fault counts as mended."""

    checks: tuple[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}(/[a-z][a-z0-9_-]{0,62})?$")], ...
    ] = ()
    """Checks that must pass: of the service, or of another one as `service/check`. Empty: all of the service."""
    hold: Duration = Field(default=timedelta(0), le=timedelta(minutes=10))
    """They must go on passing for so long; at most 10m."""


class FrontMatter(Section):
    """The part of a runbook that a program reads."""

    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """What people call the fault."""
    when: tuple[FaultPattern, ...] = Field(min_length=1, max_length=20)
    """The faults it is for: any of these."""
    actions: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(:.{1,200})?$")], ...] = Field(
        default=(), max_length=10
    )
    """Remedies to try, in this order, such as `restart` or `run_command:compact`. Empty: for people only."""
    verification: HoldRule = HoldRule()
    """What must hold before the fault counts as mended."""
    services: tuple[Glob, ...] = ()
    """Services it is for. Empty: all."""


@dataclass(frozen=True)
class Runbook:
    """One runbook."""

    path: str
    """As people name it: the folder as the configuration says it, and the file."""
    front: FrontMatter

    def is_for(self, service: str, signature: Signature, line: str) -> bool:
        """Whether it is for this fault of this service. `line`: the error line as it was logged, redacted."""
        if self.front.services and not any(fnmatchcase(service, glob) for glob in self.front.services):
            return False
        return any(pattern.matches(signature, line) for pattern in self.front.when)


class RunbookFolder:
    """The runbooks of a folder, read again when they change. `shown`: the folder as people name it; None: there is none.

    Reading blocks for as long as the disk does: call it in a thread.
    """

    def __init__(self, directory: Path, shown: Path | None) -> None:
        self._folder = directory / shown if shown is not None else None
        self._shown = shown or Path()
        self._known: dict[str, tuple[tuple[int, int], Runbook | None]] = {}
        self._lock = Lock()

    def read(self) -> list[Runbook]:
        """The runbooks as they are now, by name. One with mistakes is left out, and said in the log once."""
        if self._folder is None:
            return []
        with self._lock:
            return self._read(self._folder)

    def _read(self, folder: Path) -> list[Runbook]:
        try:
            files = _files(folder)
        except OSError as error:
            _log.warning("the runbooks cannot be read", folder=str(folder), error=str(error))
            return []
        known: dict[str, tuple[tuple[int, int], Runbook | None]] = {}
        for path, stamp in files[:MAX_COUNT]:
            before = self._known.get(path.name)
            known[path.name] = before if before is not None and before[0] == stamp else (stamp, self._parse(path))
        self._known = known
        return [runbook for _, runbook in known.values() if runbook is not None]

    def _parse(self, path: Path) -> Runbook | None:
        runbook, mistakes = read_runbook(path, str(self._shown / path.name))
        for mistake in mistakes:
            _log.warning("a runbook is left out", mistake=str(mistake))
        return runbook


def find_runbook_mistakes(directory: Path, shown: Path | None, remedies: Collection[str]) -> list[Mistake]:
    """Everything that is wrong in the runbooks of a folder. `remedies`: the names of those that there are.

    Raises BadInputError when the folder cannot be read.
    """
    if shown is None:
        return []
    folder = directory / shown
    try:
        files = _files(folder)
    except OSError as error:
        raise BadInputError(
            f"the runbooks in {folder} cannot be read ({error.strerror}); correct runbooks in brainops.yaml"
        ) from error
    found: list[Mistake] = []
    for path, _ in files[:MAX_COUNT]:
        found += read_runbook(path, str(shown / path.name), remedies)[1]
    if len(files) > MAX_COUNT:
        told = f"the folder has {len(files)} runbooks, and the first {MAX_COUNT} are read"
        found.append(Mistake(str(shown), 1, 1, "", told, "join some of them"))
    return found


def read_runbook(
    path: Path, shown: str, remedies: Collection[str] | None = None
) -> tuple[Runbook | None, list[Mistake]]:
    """One runbook, or what is wrong with it. `remedies`: those that there are; None: any name will do."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return None, [_mistake(shown, Position(), "", f"cannot be read ({error.strerror})", "make it readable")]
    except UnicodeDecodeError:
        return None, [_mistake(shown, Position(), "", "is not UTF-8 text", "save it as plain UTF-8 text")]
    if len(raw) > MAX_BYTES:
        return None, [_mistake(shown, Position(), "", "is larger than 64 KiB", "write less, or link the rest")]
    return parse_runbook(text, shown, remedies)


def parse_runbook(
    text: str, shown: str, remedies: Collection[str] | None = None
) -> tuple[Runbook | None, list[Mistake]]:
    """As `read_runbook`, from the text."""
    lines = text.splitlines()
    if not lines or lines[0].rstrip() != _FENCE:
        remedy = "begin with a line ---, title and when, and a line ---"
        return None, [_mistake(shown, Position(), "", "has no front matter", remedy)]
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), None)
    if end is None:
        return None, [_mistake(shown, Position(), "", "its front matter does not end", "write a line --- after it")]
    # The line of the fence stays, empty, so that the places are those of the file.
    document = read("\n" + "\n".join(lines[1:end]) + "\n")
    mistakes = [
        _mistake(shown, fault.position, dotted(fault.path), fault.message, fault.remedy) for fault in document.faults
    ]
    if mistakes:
        return None, mistakes
    try:
        front = FrontMatter.model_validate(document.value if document.value is not None else {})
    except ValidationError as error:
        return None, [_translated(details, document, shown) for details in error.errors(include_url=False)]
    mistakes = _unknown_remedies(front, document, shown, remedies)
    return (None if mistakes else Runbook(shown, front)), mistakes


def _unknown_remedies(
    front: FrontMatter, document: Document, shown: str, remedies: Collection[str] | None
) -> list[Mistake]:
    if remedies is None:
        return []
    return [
        _mistake(
            shown,
            document.value_position(("actions", index)),
            f"actions.{index}",
            f"there is no remedy {action.partition(':')[0][:63]!r}",
            meant(action.partition(":")[0], sorted(remedies)),
        )
        for index, action in enumerate(front.actions)
        if action.partition(":")[0] not in remedies
    ]


def _translated(error: ErrorDetails, document: Document, shown: str) -> Mistake:
    path = error["loc"]
    extra = error["type"] == "extra_forbidden"
    position = document.key_position(path) if extra else document.value_position(path)
    if extra:
        known = sorted(_keys(path))
        return _mistake(shown, position, dotted(path), "there is no such key", meant(path[-1], known))
    if error["type"] == "missing":
        return _mistake(shown, position, dotted(path), "is missing", "add it")
    message = error["msg"].removeprefix("Value error, ")
    message, _, remedy = message.partition("; ")
    return _mistake(shown, position, dotted(path), message, remedy or "see docs/knowledge.md, Runbooks")


def _keys(path: tuple[int | str, ...]) -> Iterable[str]:
    section = {"when": FaultPattern, "verification": HoldRule}.get(str(path[0]), FrontMatter)
    return section.model_fields if len(path) > 1 else FrontMatter.model_fields


def _mistake(shown: str, position: Position, field: str, message: str, remedy: str) -> Mistake:
    return Mistake(shown, position.line, position.column, field, message, remedy)


def _files(folder: Path) -> list[tuple[Path, tuple[int, int]]]:
    """Markdown files with what changes when they do, by name."""
    with os.scandir(folder) as entries:
        found = [
            (Path(entry.path), entry.stat())
            for entry in entries
            if entry.name.endswith(".md") and entry.name.lower() not in _NOT_A_RUNBOOK and entry.is_file()
        ]
    return sorted((path, (stat.st_mtime_ns, stat.st_size)) for path, stat in found)
