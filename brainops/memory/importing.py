"""Sessions that coding agents already keep on disk, taken over with their own ids and times, and understood.

Importing the same transcript again continues where the last import ended, or changes nothing. A session that the hooks
recorded as it happened is left as it is: its messages are there, under other ids.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid5

from pydantic import Field

from brainops.contracts.base import Contract
from brainops.contracts.memory import Appended, MessagePage, NewMessage, SessionInfo
from brainops.contracts.message import Message, Part, Role, TextPart, ToolResultPart
from brainops.contracts.moments import in_range
from brainops.errors import BadInputError, NotFoundError
from brainops.memory.own_words import OPEN_TAG, without_own_words
from brainops.memory.titles import LONGEST_TITLE, title_of
from brainops.memory.transcripts import (
    MOST_REPORTED,
    TranscriptMessage,
    TranscriptReport,
    TranscriptSession,
    read_transcript,
)
from brainops.memory.validation import MAX_MESSAGE_TEXT, checked_message

BATCH_MESSAGES = 200
BATCH_CHARACTERS = 1_000_000
"""Of one append: JSON of it stays below what the API takes."""

LONGEST_TEXT = 200_000
"""Characters that are kept of all texts of a message that is too large to be stored."""

COMPARED = 100
"""Messages of a session that is there already by which it is seen who wrote it: the last ones."""

TAIL_BYTES = 65_536
"""At the end of a file in which its last time is looked for."""

_TIMESTAMP = re.compile(rb'"timestamp"\s*:\s*"([0-9T:.Z+-]{10,40})"')
_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_./@-]{0,127}")

_NAMESPACE = UUID("4c7d2f5e-91a3-5b0c-8e64-27f0a6c1d3b8")


class Calls(Protocol):
    """Memory's public calls: `MemoryService`, or a client of one."""

    async def call(self, name: str, request: Mapping[str, object]) -> Any:
        """The contract that `CALLS` names (so Any: its type follows from a value)."""
        ...


class BrokenLine(Contract):
    """A line that could not be read, or not be stored."""

    file: str
    line: int
    reason: str


class TranscriptsImported(Contract):
    """What was imported."""

    files: int = 0
    sessions: int = 0
    """New or continued."""
    messages: int = 0
    known: int = 0
    """Sessions that were there already, whole."""
    recorded: int = 0
    """Sessions that the hooks had recorded; left as they are."""
    redacted: int = 0
    left_out: dict[str, int] = Field(default_factory=dict[str, int])
    """Entries of transcripts that nobody said, by their type."""
    broken: int = 0
    broken_lines: tuple[BrokenLine, ...] = ()
    """The first 100."""


class InstructionsImported(Contract):
    """What became of one CLAUDE.md or AGENTS.md."""

    file: str
    scope: str
    statements: int
    new: int = 0
    replaced: int = 0
    """Of `new`: in the place of an earlier wording."""
    gone: int = 0
    """Said no longer, and nothing in their place."""
    known: int = 0
    redacted: int = 0


@dataclass(frozen=True)
class Transcript:
    """A transcript as its first message tells of it."""

    path: Path
    agent: str
    folder: str
    """In which the agent worked; empty where it does not say."""
    began: datetime
    used: datetime
    """When it was last written to, as it says itself."""


def look_at(path: Path) -> Transcript | None:
    """What head and tail of a file say; None for one without a message. Raises OSError."""
    report = TranscriptReport()
    for first in read_transcript(path, report):
        session = report.sessions[first.session]
        return Transcript(path, session.agent, session.cwd, first.at, max(first.at, _last_time(path) or first.at))
    return None


def _last_time(path: Path) -> datetime | None:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
        times = _TIMESTAMP.findall(file.read(TAIL_BYTES))
    for told in reversed(times):
        try:
            at = datetime.fromisoformat(told.decode())
        except ValueError:
            continue
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if in_range(at):
            return at
    return None


@dataclass
class _Session:
    """A session on its way."""

    id: str
    told: TranscriptSession
    exists: bool = False
    wanted: bool = True
    after: UUID | None = None
    """The last message that is there; what comes behind it is new."""
    started: bool = False
    title: str = ""
    waiting: list[NewMessage] = field(default_factory=list[NewMessage])
    characters: int = 0
    stored: int = 0


class TranscriptImporter:
    """Imports transcripts one after the other; give them in the order in which they began, so that later sessions
    are read against what earlier ones said.

    `scope_of` names the scope of a working folder; `told` hears of each batch that was stored.
    """

    def __init__(self, memory: Calls, scope_of: Callable[[str], str], told: Callable[[], None] = lambda: None) -> None:
        self._memory = memory
        self._scope_of = scope_of
        self._told = told
        self._done = TranscriptsImported()
        self._left_out: dict[str, int] = {}
        self._broken: list[BrokenLine] = []

    @property
    def done(self) -> TranscriptsImported:
        """What was imported so far."""
        return self._done.model_copy(update={"left_out": dict(self._left_out), "broken_lines": tuple(self._broken)})

    async def take_over(self, path: Path) -> None:
        """Import one file. Raises OSError when it cannot be read, and what the calls of memory raise."""
        report = TranscriptReport()
        sessions: dict[str, _Session] = {}
        for read in read_transcript(path, report):
            session = sessions.get(read.session)
            if session is None:
                session = sessions[read.session] = await self._met(path, read, report.sessions[read.session])
            if session.wanted:
                await self._take(path, session, read)
        for session in sessions.values():
            await self._finish(session)
        self._count(files=1, broken=report.broken)
        self._tell_broken(path, report.broken_lines)
        for what, count in report.skipped.items():
            self._left_out[what] = self._left_out.get(what, 0) + count

    async def _met(self, path: Path, first: TranscriptMessage, told: TranscriptSession) -> _Session:
        """The session of a message that is the file's first of it: what memory has of it already."""
        session = _Session(session_id(told), told)
        try:
            page: MessagePage = await self._memory.call(
                "session_messages", {"session_id": session.id, "limit": COMPARED}
            )
        except NotFoundError:
            return session
        session.exists = True
        if page.messages:
            own = {one.id for one in read_transcript(path, TranscriptReport()) if one.session == first.session}
            session.wanted = all(message.id in own for message in page.messages)
            session.after = page.messages[-1].id
            self._count(recorded=not session.wanted)
        else:
            info = await self._start(session, first.at)
            session.wanted = info.messages == 0  # otherwise its messages were archived
            if not session.wanted:
                self._count(known=1)
                await self._end(session)
        return session

    async def _take(self, path: Path, session: _Session, read: TranscriptMessage) -> None:
        if not session.title and read.message.role is Role.USER:
            session.title = title_of(read.message.text)
        if session.after is not None:
            if session.after == read.id:
                session.after = None
            return
        try:
            message = storable(read)
        except BadInputError as error:
            self._count(broken=1)
            self._tell_broken(path, [(read.line, str(error))])
            return
        if message is None:
            return
        characters = len(message.model_dump_json())
        if len(session.waiting) == BATCH_MESSAGES or session.characters + characters > BATCH_CHARACTERS:
            await self._store(session)
        session.waiting.append(message)
        session.characters += characters

    async def _store(self, session: _Session) -> None:
        if not session.waiting:
            return
        if not session.started:
            await self._start(session, session.waiting[0].at)
        appended: Appended = await self._memory.call(
            "session_append", {"session_id": session.id, "messages": tuple(session.waiting)}
        )
        self._count(messages=len(session.waiting), redacted=appended.redacted)
        session.stored += len(session.waiting)
        session.waiting, session.characters = [], 0
        self._told()

    async def _start(self, session: _Session, at: datetime | None) -> SessionInfo:
        told = session.told
        about = {"cwd": told.cwd, "branch": told.branch, "imported_from": told.agent}
        session.started = True
        return await self._memory.call(
            "session_start",
            {
                "session_id": session.id,
                "agent": told.agent,
                "scope": self._scope_of(told.cwd),
                "title": (told.title or session.title)[:LONGEST_TITLE],
                "metadata": {name: value for name, value in about.items() if value},
                "at": at,
            },
        )

    async def _finish(self, session: _Session) -> None:
        """Store the rest, and have the session understood; also one of which the last import was cut off before that."""
        if not session.wanted:
            return
        await self._store(session)
        if session.stored or session.exists:
            self._count(sessions=bool(session.stored), known=not session.stored)
            await self._end(session)

    async def _end(self, session: _Session) -> None:
        await self._memory.call("session_end", {"session_id": session.id, "at": session.told.last_at})
        self._told()

    def _count(self, **more: int) -> None:
        self._done = self._done.model_copy(
            update={name: getattr(self._done, name) + int(n) for name, n in more.items()}
        )

    def _tell_broken(self, path: Path, lines: Iterable[tuple[int, str]]) -> None:
        self._broken += [BrokenLine(file=str(path), line=line, reason=reason) for line, reason in lines]
        del self._broken[MOST_REPORTED:]


def session_id(told: TranscriptSession) -> str:
    """The session's own id where it can be one here, else one made of it: the same each time."""
    if _SESSION_ID.fullmatch(told.id):
        return told.id
    return f"{told.agent or 'session'}-{uuid5(_NAMESPACE, told.id)}"


def storable(read: TranscriptMessage) -> NewMessage | None:
    """The message as memory takes it: without memory's own words, and cut where it is too large. None: nothing is left.

    Raises BadInputError when it cannot be stored all the same.
    """
    message = read.message
    from_memory = any(part.type == "tool_result" and OPEN_TAG in part.text for part in message.parts)
    parts = tuple(_without_own_words(message.parts))
    if not parts:
        return None
    kept = message.model_copy(update={"parts": parts})
    try:
        checked_message(kept)
    except BadInputError:
        kept = checked_message(kept.model_copy(update={"parts": _cut(parts)}))
    said = {name: getattr(kept, name) for name in Message.model_fields}
    return NewMessage(**said, id=read.id, at=read.at, from_memory=from_memory)


def _without_own_words(parts: Sequence[Part]) -> Iterator[Part]:
    for part in parts:
        if not isinstance(part, TextPart) or OPEN_TAG not in part.text:
            yield part
        elif text := without_own_words(part.text).strip():
            yield TextPart(text=text)


def _cut(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts with head and tail of their texts, together `LONGEST_TEXT` at most."""
    most = min(LONGEST_TEXT, MAX_MESSAGE_TEXT) // len(parts)
    return tuple(
        part.model_copy(update={"text": _shortened(part.text, most)})
        if isinstance(part, TextPart | ToolResultPart)
        else part
        for part in parts
    )


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    note = f"\n… {len(text) - most:,} characters were left out by the import …\n"
    half = most // 2
    return text[:half] + note + text[len(text) - half :]
