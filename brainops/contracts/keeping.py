"""What ContextKeeper sees repeat, what it proposes, and what its two workflows are asked and answer.

Requests and answers that enter workflow history hold ids and counts, never text.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from brainops.contracts.base import DEFAULT_TENANT, Contract
from brainops.contracts.incident import Signature

# ---- what it sees


class MemoryText(Contract):
    """A memory, as far as it matters whether another one says the same."""

    id: UUID
    content: str
    terms: tuple[str, ...]
    """Its stemmed words in order, as the index has them: without stop words."""
    scopes: tuple[str, ...]
    created_at: datetime


class AskedQuestion(Contract):
    """A question that a person asked in a session."""

    message_id: UUID
    session_id: str
    seq: int
    scope: str
    owner: str = ""
    at: datetime
    text: str
    terms: tuple[str, ...]


class RecurringFault(Contract):
    """A fault that came back."""

    service: str
    signature: str
    description: str
    count: int
    resolved: int
    """Of these, by a verified remedy of ours."""
    remedy: str = ""
    """The one that was used most."""
    plans: tuple[UUID, ...] = ()
    """The newest of these incidents."""


class SettledFault(Contract):
    """An incident that a person closed, with what they said they did."""

    plan_id: UUID
    signature: Signature
    reason: str


class FinishedWork(Contract):
    """A piece of work that was claimed and done."""

    id: UUID
    scope: str
    description: str
    outcome: str = ""
    done_at: datetime


# ---- proposals


class ProposalKind(StrEnum):
    """What an accepted proposal does."""

    MERGE_MEMORIES = "merge_memories"
    PROMOTE_KNOWLEDGE = "promote_knowledge"
    RUNBOOK = "runbook"
    OPEN_TODO = "open_todo"


class ProposalStatus(StrEnum):
    """Where a proposal stands."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    """What it was about is no longer there."""


class MergeMemories(Contract):
    """One memory stays, the others are superseded by it."""

    kind: Literal[ProposalKind.MERGE_MEMORIES] = ProposalKind.MERGE_MEMORIES
    keep: UUID
    merge: tuple[UUID, ...]


class PromoteKnowledge(Contract):
    """A memory is written that later sessions find."""

    kind: Literal[ProposalKind.PROMOTE_KNOWLEDGE] = ProposalKind.PROMOTE_KNOWLEDGE
    content: str
    memory_kind: Literal["knowledge", "error"] = "knowledge"
    type: str
    scope: str
    owner: str = ""
    importance: float = 0.8
    session_id: str = ""
    message_ids: tuple[UUID, ...] = ()


class Runbook(Contract):
    """The knowledge base is told what people did against a fault."""

    kind: Literal[ProposalKind.RUNBOOK] = ProposalKind.RUNBOOK
    signature: Signature
    remedy: str
    solution: str
    successes: int


class OpenTodo(Contract):
    """A todo is opened."""

    kind: Literal[ProposalKind.OPEN_TODO] = ProposalKind.OPEN_TODO
    title: str
    scope: str
    importance: float = 0.7


Change = Annotated[MergeMemories | PromoteKnowledge | Runbook | OpenTodo, Field(discriminator="kind")]


class Repeated(Contract):
    """What is counted before and after a proposal was accepted."""

    of: Literal["incidents", "questions", "work", "duplicates"]
    service: str = ""
    signature: str = ""
    scope: str = ""
    owner: str = ""
    terms: tuple[str, ...] = ()
    keep: UUID | None = None


class Evidence(Contract):
    """What a proposal rests on."""

    count: int
    days: int = 0
    """Within so many days. 0: it is not a matter of time."""
    ids: tuple[str, ...] = ()
    """Of the incidents, sessions, memories or work that were counted; at most 50."""
    repeated: Repeated


class NewProposal(Contract):
    """A proposal that is to be made."""

    key: str
    """What it is about: it is made once, also when it was rejected."""
    kind: ProposalKind
    what: str
    why: str
    evidence: Evidence
    expected_effect: str
    change: Change


class Measured(Contract):
    """What became of an accepted proposal."""

    at: datetime
    days: int
    """So long after it was accepted was counted."""
    before: int
    """What its evidence counted."""
    after: int
    before_per_week: float
    after_per_week: float
    verdict: Literal["better", "same", "worse"]


class Proposal(Contract):
    """A proposal as it is kept."""

    id: UUID
    key: str
    kind: ProposalKind
    what: str
    why: str
    evidence: Evidence | None
    """None of one that was decided long ago: its words were purged."""
    expected_effect: str
    change: Change | None
    """None likewise, also of one that was rejected."""
    status: ProposalStatus
    measured: Measured | None = None
    decided_by: str = ""
    reason: str = ""
    decided_at: datetime | None = None
    created_at: datetime


# ---- the two workflows


class ConsolidationRequest(Contract):
    """One round of reading, merging and proposing."""

    tenant_id: str = DEFAULT_TENANT
    quiet_minutes: int = Field(default=60, ge=0)
    """Sessions that were not ended count as quiet after this."""
    most_sessions: int = Field(default=200, ge=1, le=500)


class UnreadSessions(Contract):
    """Sessions that were not read to their end."""

    session_ids: tuple[str, ...] = ()


class ReadSession(Contract):
    """Read one session."""

    tenant_id: str = DEFAULT_TENANT
    session_id: str


class Merged(Contract):
    """What comparing the newest memories gave."""

    compared: int = 0
    merged: int = 0
    proposed: int = 0


class Found(Contract):
    """What looking for repetition gave."""

    looked_at: int = 0
    proposed: int = 0


class ConsolidationResult(Contract):
    """What one round did."""

    skipped: bool = False
    """ContextKeeper is paused or switched off."""
    sessions_read: int = 0
    sessions_failed: int = 0
    merged: int = 0
    proposed: int = 0
    agents: int = 0
    measured: int = 0


class MemoryRetentionRequest(Contract):
    """One round of archiving and purging."""

    tenant_id: str = DEFAULT_TENANT


class MemoryArchived(Contract):
    """What was moved to object storage."""

    sessions: int = 0
    messages: int = 0
    failed: int = 0
    """Sessions that could not be read or written; the log says why."""


class MemoryRetentionResult(Contract):
    """What one round did."""

    skipped: bool = False
    sessions_archived: int = 0
    messages_archived: int = 0
    sessions_failed: int = 0
    purged: dict[str, int] = Field(default_factory=dict[str, int])
    """By what it was: sessions, memories, evidence …"""


class MemoryPurged(Contract):
    """What was removed."""

    purged: dict[str, int] = Field(default_factory=dict[str, int])
