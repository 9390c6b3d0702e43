"""CLAUDE.md and AGENTS.md: what a project has told its coding agents, statement by statement.

A bullet, a paragraph or a row of a table is one statement; a block of code belongs to the statement before it. Each
keeps the headings above it, its file and its line, so that it can be shown where it stands and forgotten with it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from brainops.errors import BadInputError

MAX_BYTES = 1_048_576
"""Of one file."""

MAX_STATEMENT = 4_000
"""Characters of one statement; a longer one is cut, marked by `…`."""

NAMES = ("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", ".claude/CLAUDE.md")


@dataclass(frozen=True)
class Statement:
    """Something that a file says."""

    text: str
    headings: tuple[str, ...]
    """The headings above it, outermost first; a bullet that opens a list of its own counts as one."""
    file: str
    line: int
    """Where it begins, from 1."""


def instruction_files(project: Path) -> list[Path]:
    """Those of `NAMES` that stand in the project's folder."""
    return [path for name in NAMES if (path := project / name).is_file()]


def read_instructions(path: Path) -> list[Statement]:
    """The statements of the file.

    Raises OSError when it cannot be read, BadInputError when it is larger than `MAX_BYTES` or not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadInputError(f"{path}: larger than {MAX_BYTES:,} bytes; import a shorter file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    return list(statements(text, str(path)))


def statements(text: str, file: str) -> Iterator[Statement]:
    """The statements of a text in Markdown; `file` is what they name as their source."""
    reading = _Reading(file)
    for number, line in enumerate(_without_comments(text).splitlines(), start=1):
        yield from reading.line(number, line)
    yield from reading.end()


_HEADING = re.compile(r"(#{1,6})[ \t]+([^\n]*)")
_BULLET = re.compile(r"([ \t]*)(?:[-*+]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?([^\n]*)")
_FENCE = re.compile(r"[ \t]{0,12}(```+|~~~+)")
_RULE = re.compile(r"[ \t]*(?:[-*_=][ \t]*){3,}|[ \t]*@[\w./~-]+[ \t]*")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t:|-]+\|?[ \t]*")


@dataclass
class _Open:
    """A statement that the next line may continue."""

    line: int
    indent: int
    parts: list[str] = field(default_factory=list[str])


class _Reading:
    def __init__(self, file: str) -> None:
        self._file = file
        self._headings: dict[int, str] = {}
        self._lists: list[tuple[int, str]] = []
        self._open: _Open | None = None
        self._fence = ""
        self._ended = False

    def line(self, number: int, line: str) -> Iterator[Statement]:
        if self._fence:
            self._code(line)
        elif fence := _FENCE.match(line):
            self._fence = fence[1]
            if self._open is None:
                self._open = _Open(number, 0)
        elif not line.strip():
            self._ended = True
        elif number == 1 and line.strip() == "---":
            self._fence = "---"  # front matter: for programs, not for agents
        elif heading := _HEADING.match(line):
            yield from self.end()
            level = len(heading[1])
            self._headings = {above: name for above, name in self._headings.items() if above < level}
            self._headings[level] = heading[2].strip(" #\t")
            self._lists = []
        elif _RULE.fullmatch(line):
            yield from self.end()
        elif bullet := _BULLET.match(line):
            yield from self.end()
            self._begin_bullet(number, len(bullet[1].expandtabs(4)), bullet[2])
        elif line.lstrip().startswith("|"):
            yield from self.end()
            if not _TABLE_RULE.fullmatch(line):
                self._open = _Open(number, 0, [" | ".join(cell.strip() for cell in line.strip().strip("|").split("|"))])
        elif self._open is not None and (not self._ended or line.startswith(("  ", "\t"))):
            self._open.parts.append(line.strip())
            self._ended = False
        else:
            yield from self.end()
            self._lists = []
            self._open = _Open(number, 0, [line.strip()])

    def end(self) -> Iterator[Statement]:
        """The open statement, if there is one."""
        opened, self._open, self._ended = self._open, None, False
        text = "\n".join(opened.parts).strip() if opened else ""
        if opened is None or not text:
            return
        headings = (*self._headings.values(), *(name for indent, name in self._lists if indent < opened.indent))
        yield Statement(
            text if len(text) <= MAX_STATEMENT else f"{text[: MAX_STATEMENT - 1]}…", headings, self._file, opened.line
        )

    def _begin_bullet(self, number: int, indent: int, text: str) -> None:
        self._lists = [(above, name) for above, name in self._lists if above < indent]
        self._open = _Open(number, indent, [text.strip()])
        self._lists.append((indent, text.strip().rstrip(":")))

    def _code(self, line: str) -> None:
        if line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0]):
            self._fence = ""
        elif self._open is not None:
            self._open.parts.append(line.rstrip())


def _without_comments(text: str) -> str:
    """`text` with the lines of HTML comments emptied, so that the others keep their numbers."""
    parts: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        parts.append(text[at:start])
        end = text.find("-->", start)
        stop = end + 3 if end >= 0 else len(text)
        parts.append("\n" * text.count("\n", start, stop))
        at = stop
    return "".join([*parts, text[at:]])
