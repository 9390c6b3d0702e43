"""What the next session of a scope is told: a plain read, in a stable order, within a budget of tokens.

No workflow, no model, no write: it works while Temporal is down. Sessions that nobody has read yet (their agent was
killed, or another one still runs) are read on the way.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import JsonValue
from sqlalchemy import text

from brainops.contracts.memory import (
    ContextType,
    Memory,
    MemoryKind,
    Restore,
    Restored,
    Snapshot,
    Todo,
    TodoList,
    TodoStatus,
    WorkCheck,
    WorkMatch,
)
from brainops.database.engine import Database
from brainops.errors import UnavailableError
from brainops.memory.learning import SessionLearner
from brainops.memory.own_words import CLOSE_TAG, OPEN_TAG, wrapped
from brainops.memory.persistent import PersistentStore
from brainops.memory.pruner import CHARACTERS_PER_TOKEN, tokens
from brainops.memory.snapshots import SnapshotStore
from brainops.memory.todos import TodoStore
from brainops.memory.understanding.briefing import brief
from brainops.memory.understanding.model import Speaker, Statement, StatementKind
from brainops.memory.work import WorkStore

_logger = logging.getLogger(__name__)

MOST_MEMORIES = 5_000
"""Memories of the scope that a restore looks at: the newest."""

MOST_UNREAD = 5
"""Sessions that nobody has read yet and that a restore reads itself: the newest."""

MOST_SAVED = 10
"""Snapshots that a restore looks at: the newest."""

_SHARE_OF_SAVED = 0.15
_SHARE_OF_SYSTEM = 0.1
"""Of the budget: for the last saved context, and for services and recent faults."""

_UNREAD = text("""
    SELECT id FROM brainops.sessions
    WHERE scope = :scope AND owner = :owner AND last_seq > understood AND id <> :session AND archived_at IS NULL
    ORDER BY last_at DESC LIMIT :limit
""")

_LAST_SESSIONS = text("""
    SELECT id FROM brainops.sessions WHERE scope = :scope AND owner = :owner AND last_seq > 0 AND last_at <= :now
    ORDER BY last_at DESC LIMIT 5
""")

_FAILING = text("""
    SELECT service, check_name, reason, detail, since FROM brainops.check_states
    WHERE status = 'failing' ORDER BY since, service, check_name LIMIT 10
""")

_FIXED = text("""
    SELECT problem_description, solution, last_used FROM brainops.knowledge_base
    WHERE retired_at IS NULL AND success_rate > 0 AND last_used BETWEEN :since AND :now
    ORDER BY last_used DESC LIMIT 5
""")

_KIND_OF_TYPE = {
    "decision": StatementKind.DECISION,
    "constraint": StatementKind.CONSTRAINT,
    "rule": StatementKind.CONSTRAINT,
    "preference": StatementKind.PREFERENCE,
    "open_question": StatementKind.TODO,
}
_KIND_OF_KIND = {
    MemoryKind.TASK: StatementKind.TODO,
    MemoryKind.ERROR: StatementKind.FIX,
    MemoryKind.SYSTEM_STATE: StatementKind.STATE,
}


class Restorer:
    """Composes what a session is told at its start."""

    def __init__(
        self,
        learner: SessionLearner,
        persistent: PersistentStore,
        snapshots: SnapshotStore,
        todos: TodoStore,
        work: WorkStore,
        database: Database,
    ) -> None:
        self._learner = learner
        self._persistent = persistent
        self._snapshots = snapshots
        self._todos = todos
        self._work = work
        self._database = database

    async def restore(self, request: Restore) -> Restored:
        """The text to inject, empty when nothing is known; never over the budget."""
        now = request.at or datetime.now(UTC)
        statements = await self._statements(request, now)
        latest = await self._snapshots.latest(
            request.scope, request.session_id or None, now, limit=MOST_SAVED, owner=request.owner
        )
        duplicate = await self._duplicate(request, now)
        budget = request.budget_tokens * CHARACTERS_PER_TOKEN - len(OPEN_TAG) - len(CLOSE_TAG) - 2
        head = _fitting(_duplicate_lines(duplicate), budget // 4)
        tail = _fitting(_saved_lines(_last_saved(latest)), int(budget * _SHARE_OF_SAVED))
        tail += _fitting(await self._system_lines(now), int(budget * _SHARE_OF_SYSTEM))
        left = budget - sum(len(line) + 1 for line in (*head, *tail))
        told = await asyncio.to_thread(
            brief,
            statements,
            prompt=request.prompt,
            now=now,
            budget_tokens=max(left - 2, 0) // CHARACTERS_PER_TOKEN,
            project=_project(request.scope),
        )
        body = "\n".join((*head, *([told.text] if told.text else []), *tail))
        if not body:
            return Restored(text="", tokens=0)
        whole = wrapped(body)
        return Restored(
            text=whole,
            tokens=tokens(whole),
            used=told.used,
            sessions=await self._sessions(request, now),
            duplicate=duplicate,
        )

    async def _statements(self, request: Restore, now: datetime) -> list[Statement]:
        """Everything of the scope that holds: what sessions left, what was told on purpose, open todos."""
        scopes, owner = (request.scope,), request.owner
        left = await self._persistent.statements(scopes, owner=owner, now=now, limit=MOST_MEMORIES)
        known = sorted(map(Statement.model_validate_json, left), key=lambda one: (one.at, one.source, one.place))
        values = {
            "scope": request.scope,
            "owner": request.owner,
            "session": request.session_id,
            "limit": MOST_UNREAD,
        }
        for unread in reversed(await self._database.read(_UNREAD, values)):
            try:
                known = await self._learner.glance(unread["id"], known)
            except UnavailableError:
                raise
            except Exception:  # whatever it is, the others must not be kept from the next session by it
                _logger.exception("session %s cannot be read", unread["id"])
        told = [_told(row) for row in await self._persistent.told(scopes, owner=owner, now=now, limit=MOST_MEMORIES)]
        listed = await self._todos.list(TodoList(scope=request.scope, limit=200))
        return known + told + [_open_work(todo) for todo in listed.todos]

    async def _duplicate(self, request: Restore, now: datetime) -> WorkMatch | None:
        if not request.prompt.strip():
            return None
        checked = await self._work.check(
            WorkCheck(description=request.prompt, scope=request.scope, owner=request.owner, at=now)
        )
        return checked.match if checked.duplicate else None

    async def _system_lines(self, now: datetime) -> list[str]:
        lines = [
            f"- {row['service']} is failing ({row['check_name']}: {row['detail'] or row['reason']})"
            for row in await self._database.read(_FAILING)
        ]
        fixed = await self._database.read(_FIXED, {"since": now - timedelta(days=7), "now": now})
        lines += [f"- {row['problem_description']}: {row['solution']}" for row in fixed]
        return ["", "## Services and recent faults", *lines] if lines else []

    async def _sessions(self, request: Restore, now: datetime) -> tuple[str, ...]:
        values = {"scope": request.scope, "owner": request.owner, "now": now}
        return tuple(row["id"] for row in await self._database.read(_LAST_SESSIONS, values))


def _project(scope: str) -> str:
    return scope.partition(":")[2] or scope


def _told(memory: Memory) -> Statement:
    """What was remembered on purpose, as a statement."""
    kind = _KIND_OF_TYPE.get(memory.type) or _KIND_OF_KIND.get(memory.kind, StatementKind.STATE)
    return Statement(
        id=str(memory.id),
        kind=kind,
        text=memory.content if not memory.why else f"{memory.content} ({memory.why})",
        speaker=Speaker.USER,
        at=memory.valid_from,
        source=str(memory.id),
        expires_at=memory.expires_at,
        importance=1.0 if memory.pinned else max(memory.importance, 0.7),
    )


def _open_work(todo: Todo) -> Statement:
    said = todo.status is TodoStatus.OPEN or (todo.status is TodoStatus.BLOCKED and todo.blocker)
    condition = "" if said else f", {todo.status.value.replace('_', ' ')}"
    progress = f", {todo.progress} %" if todo.progress else ""
    blocker = f"; waits for {todo.blocker}" if todo.blocker else ""
    return Statement(
        id=str(todo.id),
        kind=StatementKind.TODO,
        text=f"{todo.title}{condition}{progress}{blocker}",
        speaker=Speaker.USER,
        at=todo.updated_at,
        source=str(todo.id),
        importance=max(todo.importance, 0.7),
    )


def work_notice(match: WorkMatch) -> str:
    """The warning that work was done, or is being done by somebody."""
    item = match.item
    by = item.claimed_by or "another session"
    state = f"was done on {item.done_at:%Y-%m-%d}" if item.done_at else f"is being done by {by}"
    outcome = f" ({item.outcome.rstrip('. ')})" if item.outcome else ""
    return f"This work {state}: {item.description.rstrip('. ')}{outcome}. Look before doing it again."


def _duplicate_lines(match: WorkMatch | None) -> list[str]:
    return [] if match is None else [work_notice(match), ""]


def _last_saved(latest: Sequence[Snapshot]) -> list[Snapshot]:
    """Of the session that saved last, the newest snapshot of each type, in a stable order."""
    newest = {one.context_type: one for one in reversed(latest) if one.session_id == latest[0].session_id}
    return [newest[kind] for kind in ContextType if kind in newest]


def _saved_lines(saved: Sequence[Snapshot]) -> list[str]:
    lines: list[str] = []
    for one in saved:
        of = "Saved" if one.context_type is ContextType.TASK else f"{one.context_type.value.capitalize()} saved"
        told = [f"- {name.replace('_', ' ')}: {_shown(value)}" for name, value in sorted(one.context_data.items())]
        lines += ["", f"## {of} at {one.timestamp:%Y-%m-%d %H:%M}", *told] if told else []
    return lines


def _shown(value: JsonValue) -> str:
    if isinstance(value, list):
        return "; ".join(_shown(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(one)}" for name, one in sorted(value.items()))
    return str(value)


def _fitting(lines: Sequence[str], characters: int) -> list[str]:
    """The first lines that fit, whole; nothing where only the heading would."""
    kept: list[str] = []
    used = 0
    for line in lines:
        used += len(line) + 1
        if used > characters:
            break
        kept.append(line)
    return kept if any(line.startswith(("- ", "This")) for line in kept) else []
