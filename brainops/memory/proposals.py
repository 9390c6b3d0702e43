"""Proposals: what ContextKeeper would change, kept until a person decides; an accepted one is carried out and measured.

The change is carried out while the proposal's row is locked and before it is marked: each change may be repeated, so a
crash in between leaves an open proposal that is accepted once more, and nothing twice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.agent import AgentName
from brainops.contracts.base import Actor
from brainops.contracts.keeping import (
    Change,
    Measured,
    MergeMemories,
    NewProposal,
    OpenTodo,
    PromoteKnowledge,
    Proposal,
    ProposalStatus,
    Repeated,
    Runbook,
)
from brainops.contracts.memory import Memory, MemoryKind, NewMemory, Provenance, TodoAdd
from brainops.contracts.recording import WorkRecord
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import BadInputError, ConflictError, NotFoundError
from brainops.memory.deeds import DeedStore
from brainops.memory.knowledge import KnowledgeStore, ToldKnowledge
from brainops.memory.memory_rows import prepared_reason
from brainops.memory.persistent import Closing, PersistentStore
from brainops.memory.todos import TodoStore

PROPOSED = "proposed"
"""Tag of memories that an accepted proposal wrote."""

MOST_KNOWN = 1_000
"""Proposals against which a new one is held, the newest."""

_IDS = UUID("5d3f5a4c-2f0c-5b0e-8a8e-0f0a4c1c9b52")

_OPEN = text("""
    INSERT INTO brainops.proposals (id, key, kind, what, why, evidence, expected_effect, change, status)
    VALUES (:id, :key, :kind, :what, :why, CAST(:evidence AS jsonb), :expected_effect, CAST(:change AS jsonb), 'open')
    ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id
""")

_LIST = text("""
    SELECT * FROM brainops.proposals WHERE CAST(:status AS text) IS NULL OR status = :status
    ORDER BY status = 'open' DESC, created_at DESC, id LIMIT :limit
""")

_GET = text("SELECT * FROM brainops.proposals WHERE id::text LIKE :prefix ORDER BY id LIMIT 2")
_LOCKED = text("SELECT * FROM brainops.proposals WHERE id = :id FOR UPDATE")

_DECIDED = text("""
    UPDATE brainops.proposals SET status = :status, decided_by = :decided_by, reason = :reason, decided_at = :at,
        updated_at = clock_timestamp()
    WHERE id = :id RETURNING *
""")

_KNOWN = text("""
    SELECT evidence->'repeated' AS repeated FROM brainops.proposals
    WHERE evidence ? 'repeated' ORDER BY created_at DESC LIMIT :limit
""")

_TO_MEASURE = text("""
    SELECT * FROM brainops.proposals
    WHERE status = 'accepted' AND decided_at < :before AND coalesce((measured->>'days')::int, 0) < :days
    ORDER BY decided_at DESC LIMIT :limit
""")

_MEASURED = text("""
    UPDATE brainops.proposals SET measured = CAST(:measured AS jsonb), updated_at = clock_timestamp() WHERE id = :id
""")


class ProposalStore:
    """Reads and writes `proposals`, and carries out what is accepted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._persistent = PersistentStore(database)
        self._knowledge = KnowledgeStore(database)
        self._todos = TodoStore(database)
        self._deeds = DeedStore(database)

    async def open(self, proposal: NewProposal) -> bool:
        """Make a proposal. False: there is one with its key, open or decided."""
        values = proposal.model_dump(include={"key", "what", "why", "expected_effect"}) | {
            "id": uuid4(),
            "kind": proposal.kind.value,
            "evidence": to_json(proposal.evidence),
            "change": to_json(proposal.change),
        }
        async with self._database.transaction() as connection:
            return (await connection.execute(_OPEN, values)).first() is not None

    async def list(self, *, status: ProposalStatus | None = None, limit: int = 50) -> list[Proposal]:
        """Proposals, open ones first, then the newest. Default: of every status."""
        values = {"status": status.value if status else None, "limit": limit}
        return [_proposal(row) for row in await self._database.read(_LIST, values)]

    async def get(self, proposal_id: str) -> Proposal:
        """A proposal by its id or the first characters of it, at least four. Raises NotFoundError, BadInputError."""
        wanted = proposal_id.strip().lower()
        if len(wanted) < 4 or not all(character in "0123456789abcdef-" for character in wanted):
            raise BadInputError(f"{proposal_id!r} is no id of a proposal; give four of its first characters or more")
        rows = await self._database.read(_GET, {"prefix": f"{wanted}%"})
        if not rows:
            raise NotFoundError(f"there is no proposal {proposal_id!r}; `brainops proposals list` lists them")
        if len(rows) > 1:
            raise BadInputError(f"several proposals begin with {proposal_id!r}; give more of its characters")
        return _proposal(rows[0])

    async def accept(self, proposal_id: UUID, actor: Actor, reason: str = "") -> Proposal:
        """Carry out a proposal and record it as a deed. One that is accepted already stays as it is.

        What it is about may be gone by now: it is then withdrawn, and nothing is done. Raises NotFoundError,
        ConflictError for one that was rejected or withdrawn, BadInputError for too long a reason.
        """
        return await self._decide(proposal_id, ProposalStatus.ACCEPTED, actor, reason)

    async def reject(self, proposal_id: UUID, actor: Actor, reason: str = "") -> Proposal:
        """Decide against a proposal: it is not made again. Raises as `accept`, ConflictError for one that was accepted."""
        return await self._decide(proposal_id, ProposalStatus.REJECTED, actor, reason)

    async def known(self) -> Sequence[Repeated]:
        """What the newest proposals, open or decided, are about."""
        rows = await self._database.read(_KNOWN, {"limit": MOST_KNOWN})
        return [Repeated.model_validate(row["repeated"]) for row in rows]

    async def to_measure(
        self, now: datetime, after: timedelta, within: timedelta, limit: int = 200
    ) -> Sequence[Proposal]:
        """Accepted proposals decided `after` ago or earlier and not measured over `within` yet, the newest first."""
        values = {"before": now - after, "days": within.days, "limit": limit}
        return [_proposal(row) for row in await self._database.read(_TO_MEASURE, values)]

    async def save_measured(self, proposal_id: UUID, measured: Measured) -> None:
        """Keep what became of an accepted proposal, in place of what was measured before."""
        await self._database.write(_MEASURED, {"id": proposal_id, "measured": to_json(measured)})

    async def _decide(self, proposal_id: UUID, status: ProposalStatus, actor: Actor, reason: str) -> Proposal:
        if len(reason) > 500:
            raise BadInputError(f"the reason has {len(reason)} characters; give at most 500")
        reason, _ = prepared_reason(reason)
        began = datetime.now(UTC)
        async with self._database.transaction() as connection:
            row = (await connection.execute(_LOCKED, {"id": proposal_id})).mappings().first()
            if row is None:
                raise NotFoundError(f"there is no proposal {proposal_id}; `brainops proposals list` lists them")
            proposal = _proposal(row)
            decided = proposal
            if proposal.status is not status:
                if proposal.status is not ProposalStatus.OPEN or proposal.change is None:
                    raise ConflictError(f"proposal {proposal_id} is {proposal.status.value} already; it stays so")
                done = status is not ProposalStatus.ACCEPTED or await self._carry_out(proposal, proposal.change, actor)
                becomes = status if done else ProposalStatus.WITHDRAWN
                decided = await _mark(connection, proposal_id, becomes, actor, reason)
        await self._deeds.record_work(_deed(decided, actor, began))
        return decided

    async def _carry_out(self, proposal: Proposal, change: Change, actor: Actor) -> bool:
        """Do it. False: there is nothing left to do it to."""
        match change:
            case MergeMemories():
                return await merge(self._persistent, change.keep, change.merge, datetime.now(UTC)) > 0
            case PromoteKnowledge():
                await self._persistent.remember(_promoted(proposal, change, actor))
            case Runbook():
                told = ToldKnowledge(
                    signature=change.signature,
                    remedy=change.remedy,
                    solution=change.solution,
                    successes=change.successes,
                )
                await self._knowledge.replace(told, str(actor))
            case OpenTodo():
                todo = TodoAdd(
                    id=uuid5(_IDS, str(proposal.id)),
                    title=change.title,
                    scope=change.scope,
                    importance=change.importance,
                )
                await self._todos.add(todo)
        return True


async def merge(persistent: PersistentStore, keep: UUID, others: Sequence[UUID], at: datetime) -> int:
    """Have `others` superseded by `keep`, which takes over their names, tags and weight. Returns how many.

    Those that hold no longer are left as they are; nothing is done when `keep` does not hold.
    """
    found = await persistent.get_many([keep, *others])
    current = {memory.id: memory for memory in found if memory.valid_to is None}
    kept = current.pop(keep, None)
    if kept is None or not current:
        return 0
    closings = [Closing(id=one, at=at, superseded_by=keep) for one in current]
    await persistent.apply([_with_all_of(kept, list(current.values()))], closings)
    return len(closings)


def _with_all_of(kept: Memory, others: Sequence[Memory]) -> NewMemory:
    """`kept` told once more, with what the others have beside their words: telling again only adds."""
    every = (kept, *others)
    values: dict[str, Any] = kept.model_dump(include=set(NewMemory.model_fields) - {"id", "valid_from", "at"})
    return NewMemory.model_validate(
        values
        | {
            "aliases": tuple(dict.fromkeys(alias for memory in every for alias in memory.aliases)),
            "tags": tuple(dict.fromkeys(tag for memory in every for tag in memory.tags)),
            "importance": max(memory.importance for memory in every),
            "confidence": max(memory.confidence for memory in every),
            "pinned": any(memory.pinned for memory in every),
        }
    )


def _promoted(proposal: Proposal, change: PromoteKnowledge, actor: Actor) -> NewMemory:
    return NewMemory(
        id=uuid5(_IDS, str(proposal.id)),
        content=change.content,
        kind=MemoryKind(change.memory_kind),
        type=change.type,
        scopes=(change.scope,),
        owner=change.owner,
        why=proposal.why,
        importance=change.importance,
        tags=(PROPOSED,),
        provenance=Provenance(
            agent=AgentName.CONTEXT_KEEPER,
            actor=str(actor),
            session_id=change.session_id,
            message_ids=change.message_ids,
            source=f"proposal {proposal.id}",
        ),
    )


async def _mark(
    connection: AsyncConnection, proposal_id: UUID, status: ProposalStatus, actor: Actor, reason: str
) -> Proposal:
    values = {
        "id": proposal_id,
        "status": status.value,
        "decided_by": str(actor),
        "reason": reason,
        "at": datetime.now(UTC),
    }
    return _proposal((await connection.execute(_DECIDED, values)).mappings().one())


def _deed(proposal: Proposal, actor: Actor, began: datetime) -> WorkRecord:
    return WorkRecord(
        key=f"proposal/{proposal.id}/{proposal.status.value}",
        task_id=str(proposal.id),
        agent=AgentName.CONTEXT_KEEPER,
        actor=actor,
        action=f"proposal_{proposal.status.value}",
        input={"proposal": str(proposal.id), "kind": proposal.kind.value},
        output={"status": proposal.status.value},
        success=True,
        duration_ms=(datetime.now(UTC) - began).total_seconds() * 1000,
        workflow_id="",
        run_id="",
        started_at=began,
    )


def _proposal(row: RowMapping) -> Proposal:
    values = dict(row)
    return Proposal.model_validate(
        {**values, **{name: values[name] or None for name in ("evidence", "change", "measured")}}
    )
