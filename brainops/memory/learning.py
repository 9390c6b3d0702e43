"""What a session leaves behind: its transcript is read, by rules and without a model, and what it says is remembered."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from uuid import UUID, uuid5

from brainops.contracts.memory import Memory, MemoryKind, NewMemory, Provenance, SessionInfo
from brainops.contracts.message import MessageStatus, Role, StoredMessage, TextPart, ToolCallPart, ToolResultPart
from brainops.errors import UnavailableError
from brainops.memory.persistent import MOST_AT_ONCE, Closing, PersistentStore
from brainops.memory.pruner_rules import Call
from brainops.memory.sessions import SessionStore
from brainops.memory.understanding.model import Act, Event, Reading, Statement, StatementKind, StatementStatus
from brainops.memory.understanding.reading import read_session
from brainops.memory.understanding.words import content, numbers
from brainops.memory.work import WorkStore
from brainops.memory.work_reports import done_work

UNDERSTOOD = "understood"
"""Tag of memories that were read from a session."""

MOST_EVENTS = 5_000
"""Messages of one session that are read; of a longer one, the newest."""

LONGEST_CALL = 300
"""Characters of a tool call that are read with its result."""

MOST_QUIET = 20
"""Sessions that are read in one sweep."""

FAILED_FOR_SECONDS = 3600.0
"""A session that could not be read is left for so long: what is wrong with it is seldom gone in a minute."""

MOST_FAILED = 1_000
"""Such sessions that are remembered."""

FORGOTTEN = "forgotten"
"""In the metadata of a session: ids of memories that were read from it and are not to be read again."""

MOST_KNOWN = 5_000
"""Statements of a scope that a session is read against: the newest."""

_logger = logging.getLogger(__name__)

_STATEMENT_IDS = UUID("0b1c6f0e-6f64-5d1e-9a67-3b8d1b1f7a50")

_KINDS = {
    StatementKind.TODO: MemoryKind.TASK,
    StatementKind.DONE: MemoryKind.TASK,
    StatementKind.STATE: MemoryKind.SYSTEM_STATE,
    StatementKind.FIX: MemoryKind.ERROR,
}
_SAME_WORDS = 0.8
"""Share of the words of a memory by which a sentence says the same."""

_ONLY_WHILE_CURRENT = frozenset({Act.ASKS, Act.GUESSES, Act.CONFIRMS, Act.PROPOSES})
"""Of these nothing is kept once they hold no longer: they were never facts."""


@dataclass
class Learnt:
    """What a reading adds and closes."""

    new: list[NewMemory] = field(default_factory=list[NewMemory])
    closed: list[Closing] = field(default_factory=list[Closing])


class SessionLearner:
    """Reads sessions against what is known of their scope. Reading the same again changes nothing."""

    def __init__(self, sessions: SessionStore, persistent: PersistentStore, work: WorkStore) -> None:
        self._sessions = sessions
        self._persistent = persistent
        self._work = work
        self._failed: OrderedDict[str, float] = OrderedDict()

    async def learn(self, session_id: str) -> SessionInfo:
        """Read a session that is over, or so far, and remember what it decided, left open and learned."""
        session = await self._sessions.get(session_id)
        if session.understood >= session.messages:
            return session
        events, read_to, reading = await self._read(session, await self.known(session.scope, session.owner))
        learnt = as_memories(reading, await self.known(session.scope, session.owner), session)
        for new, closed in parted(learnt, MOST_AT_ONCE):
            await self._persistent.apply(new, closed)
        done = await asyncio.to_thread(done_work, events)
        await self._work.note(session.scope, done, session.id)
        await self._sessions.mark_understood(session.id, read_to)
        return await self._sessions.get(session_id)

    async def learn_quiet(self, before: datetime) -> int:
        """Read sessions of which nothing was heard since `before`, whose agent went away without an end. How many.

        One that cannot be read is left for an hour, and does not stop the others.
        """
        now = monotonic()
        self._failed = OrderedDict((id_, until) for id_, until in self._failed.items() if until > now)
        read = 0
        for session_id in await self._sessions.unread(before, limit=MOST_QUIET, but=list(self._failed)):
            try:
                await self.learn(session_id)
            except UnavailableError:
                raise
            except Exception:  # whatever it is, it is the matter of this session alone
                _logger.exception("session %s cannot be read", session_id)
                self._failed[session_id] = now + FAILED_FOR_SECONDS
                while len(self._failed) > MOST_FAILED:
                    self._failed.popitem(last=False)
            else:
                read += 1
        return read

    async def known(self, scope: str, owner: str) -> list[Statement]:
        """The statements of a scope that hold, oldest first."""
        types = [kind.value for kind in StatementKind]
        rows = await self._persistent.current(
            (scope,), owner=owner, types=types, now=datetime.now(UTC), limit=MOST_KNOWN
        )
        return sorted(statements_of(rows), key=lambda statement: (statement.at, statement.source, statement.place))

    async def glance(self, session_id: str, known: Sequence[Statement]) -> list[Statement]:
        """What would be known after a session that was not read yet; nothing is written."""
        session = await self._sessions.get(session_id)
        if session.understood >= session.messages:
            return list(known)
        return after(known, (await self._read(session, known))[2])

    async def _read(self, session: SessionInfo, known: Sequence[Statement]) -> tuple[list[Event], int, Reading]:
        """What was said, up to which message, and what is understood of it."""
        events, read_to = await self._events(session)
        reading = await asyncio.to_thread(read_session, events, known)
        closed = await self._persistent.taken_back((session.scope,), owner=session.owner, since=session.started_at)
        return events, read_to, without_forgotten(without_taken_back(reading, closed), session)

    async def _events(self, session: SessionInfo) -> tuple[list[Event], int]:
        """What was said, and up to which message: one that is still being told is for the next reading."""
        first = max(0, session.messages - MOST_EVENTS)
        read_to = session.messages
        events: list[Event] = []
        calls: dict[str, ToolCallPart] = {}
        async for message in self._sessions.events(session.id, first):
            if message.status is MessageStatus.STREAMING:
                read_to = min(read_to, message.seq - 1)
            calls |= {part.id: part for part in message.parts if isinstance(part, ToolCallPart)}
            if not message.from_memory:
                events += events_of(message, calls)
        return events, read_to


def events_of(message: StoredMessage, calls: Mapping[str, ToolCallPart]) -> list[Event]:
    """A message as the reader of transcripts takes it: its words, and each tool result apart, its call in the first line.

    `calls`: those that were made so far, by their id.
    """
    if message.status is MessageStatus.STREAMING:
        return []
    source = str(message.id)
    said = "\n\n".join(part.text for part in message.parts if isinstance(part, TextPart))
    found = [Event(at=message.at, role=message.role, text=said, source=source)] if said.strip() else []
    found += [
        Event(at=message.at, role=Role.TOOL, tool=part.name, text=f"{_called(part, calls)}\n{part.text}", source=source)
        for part in message.parts
        if isinstance(part, ToolResultPart) and part.text.strip()
    ]
    return found


def _called(result: ToolResultPart, calls: Mapping[str, ToolCallPart]) -> str:
    """What was called, in one line: a command as a shell shows it, else the tool and what it was about."""
    asked = calls.get(result.call_id)
    call = Call(result.name, asked.arguments if asked else {}, result.text)
    line = f"$ {call.command}" if call.command else f"{call.tool} {call.subject}"
    return " ".join(line[:LONGEST_CALL].split())


def after(known: Sequence[Statement], reading: Reading) -> list[Statement]:
    """What holds after a reading."""
    own = {statement.id for statement in reading.statements}
    gone = {change.id for change in reading.changes if change.status is not StatementStatus.CURRENT}
    kept = [statement for statement in known if statement.id not in own | gone]
    return kept + [statement for statement in reading.statements if statement.status is StatementStatus.CURRENT]


def without_taken_back(reading: Reading, closed: Sequence[Memory]) -> Reading:
    """A reading in which nothing holds that was told on purpose, too, and has been taken back after it was said.

    An agent that remembers a fact and supersedes it later leaves the words of the first time in its transcript.
    """
    if not closed:
        return reading
    gone = [(memory, content(memory.content), numbers(memory.content)) for memory in closed]

    def judged(statement: Statement) -> Statement:
        words, figures = content(statement.text), numbers(statement.text)
        for memory, told, told_figures in gone:
            later = memory.valid_to is not None and memory.valid_to > statement.at
            if later and told and told_figures <= figures and len(told & words) >= _SAME_WORDS * len(told):
                return statement.model_copy(update={"status": StatementStatus.SUPERSEDED, "reason": "taken back"})
        return statement

    return reading.model_copy(update={"statements": tuple(judged(statement) for statement in reading.statements)})


def without_forgotten(reading: Reading, session: SessionInfo) -> Reading:
    """A reading without what was forgotten on purpose: the words of a session stay, and are read again with it."""
    told = session.metadata.get(FORGOTTEN)
    gone = {str(one) for one in told} if isinstance(told, list) else set[str]()
    if not gone:
        return reading
    kept = tuple(
        statement
        for statement in reading.statements
        if str(statement_id(session.scope, session.owner, statement.id)) not in gone
    )
    return reading.model_copy(update={"statements": kept})


def parted(learnt: Learnt, most: int) -> Iterator[tuple[Sequence[NewMemory], Sequence[Closing]]]:
    """What is written together: all of it where that is not too much, each new memory always with its own end."""
    if len(learnt.new) + len(learnt.closed) <= most:
        yield learnt.new, learnt.closed
        return
    endings = {closing.id: closing for closing in learnt.closed}
    for first in range(0, len(learnt.new), most // 2):
        some = learnt.new[first : first + most // 2]
        yield some, [endings.pop(new.id) for new in some if new.id is not None and new.id in endings]
    rest = list(endings.values())
    for first in range(0, len(rest), most):
        yield (), rest[first : first + most]


def as_memories(reading: Reading, known: Sequence[Statement], session: SessionInfo) -> Learnt:
    """A reading as rows to write and rows to close."""
    learnt = Learnt()
    known_ids = {statement.id for statement in known}
    ended = {change.id: change for change in reading.changes if change.status is not StatementStatus.CURRENT}
    for statement in reading.statements:
        current = statement.status is StatementStatus.CURRENT
        if statement.id not in known_ids and (current or statement.act not in _ONLY_WHILE_CURRENT):
            learnt.new.append(_memory(statement, session))
        if not current:
            learnt.closed.append(_closing(statement.id, statement.status, statement.replaced_by, session))
    own = {statement.id for statement in reading.statements}
    learnt.closed += [
        _closing(change.id, change.status, change.replaced_by, session)
        for change in ended.values()
        if change.id not in own
    ]
    return learnt


def statements_of(memories: Iterable[Memory]) -> list[Statement]:
    """The statements that memories were made from; others are left out."""
    return [Statement.model_validate(memory.data["statement"]) for memory in memories if "statement" in memory.data]


def statement_id(scope: str, owner: str, statement: str) -> UUID:
    """The id of the memory of a statement: the same in every reading."""
    return uuid5(_STATEMENT_IDS, f"{scope}\x1f{owner}\x1f{statement}")


def _memory(statement: Statement, session: SessionInfo) -> NewMemory:
    return NewMemory(
        id=statement_id(session.scope, session.owner, statement.id),
        content=statement.text,
        kind=_KINDS.get(statement.kind, MemoryKind.KNOWLEDGE),
        type=statement.kind.value,
        scopes=(session.scope,),
        owner=session.owner,
        importance=statement.importance,
        tags=(UNDERSTOOD,),
        data={"statement": statement.model_dump(mode="json", exclude_defaults=True)},
        at=statement.at,
        valid_from=statement.at,
        expires_at=statement.expires_at,
        provenance=Provenance(
            agent=session.agent,
            session_id=session.id,
            message_ids=tuple(UUID(source) for source in dict.fromkeys(statement.sources)),
        ),
    )


def _closing(statement: str, status: StatementStatus, replaced_by: str, session: SessionInfo) -> Closing:
    return Closing(
        id=statement_id(session.scope, session.owner, statement),
        at=session.last_at,
        superseded_by=statement_id(session.scope, session.owner, replaced_by) if replaced_by else None,
        resolved=status is StatementStatus.DONE,
    )
