"""What memory is asked and what it answers: the requests and answers of every public call.

One schema for the library, the HTTP API, MCP, the hooks and the command line. Limits of texts stand in
`brainops/memory/validation.py`, which every store goes through.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints

from brainops.contracts.base import Contract
from brainops.contracts.message import Message, Part, Role, StoredMessage
from brainops.contracts.moments import End, Moment

SCOPE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9:_./@ -]{0,199}$"
Scope = Annotated[str, StringConstraints(pattern=SCOPE_PATTERN)]
"""What a memory belongs to: a project (`project:shop`), a domain, a conversation. Free text of up to 200 characters."""

DEFAULT_SCOPE = "default"

SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9:_./@-]{0,127}$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Name = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]
"""What is looked for, and so comes to no store that would check it."""

Importance = Annotated[float, Field(ge=0, le=1)]
Json = dict[str, JsonValue]


# ---- what is kept


class MemoryKind(StrEnum):
    """The four kinds of persistent memory."""

    SYSTEM_STATE = "system_state"
    TASK = "task"
    KNOWLEDGE = "knowledge"
    ERROR = "error"


class Provenance(Contract):
    """Where a memory comes from."""

    agent: str = ""
    actor: str = ""
    """`person:mira`, `agent:context_keeper`; as `Actor` prints it."""
    session_id: str = ""
    message_ids: tuple[UUID, ...] = ()
    workflow_id: str = ""
    run_id: str = ""
    source: str = ""
    """A file and line, a URL, or the name of an import."""


class MemoryContent(Contract):
    """What a memory says."""

    content: str
    """The fact, as one or a few sentences that stand on their own."""
    kind: MemoryKind = MemoryKind.KNOWLEDGE
    type: str = "fact"
    """Finer than `kind`, and free: fact, decision, constraint, preference, fix, state, entity, relation, open_question, persona …"""
    scopes: tuple[Scope, ...] = (DEFAULT_SCOPE,)
    owner: str = ""
    """A person whose own memory this is; nobody else's recall finds it. Default: everybody's of the tenant."""
    name: str = ""
    """A short canonical name by which it is called, such as `database_choice`."""
    aliases: tuple[str, ...] = ()
    """Further names: by names and aliases a memory is found with precision."""
    why: str = ""
    """Why it matters; shown, not searched by name."""
    importance: Importance = 0.5
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    tags: tuple[Tag, ...] = ()
    """The tag `legal-hold` keeps it from retention."""
    pinned: bool = False
    """Given back always, whatever is asked."""
    data: Json = Field(default_factory=dict)
    """Anything further for programs (participants of a relation, the statement it was made from)."""
    expires_at: End | None = None
    """When it stops being true by itself. Default: never."""
    provenance: Provenance = Provenance()


class NewMemory(MemoryContent):
    """What is to be remembered."""

    valid_from: Moment | None = None
    """Default: `at`."""
    id: UUID | None = None
    """Default: a new one. The same id again changes nothing."""
    at: Moment | None = None
    """When it was said, for imports. Default: now."""


class Memory(MemoryContent):
    """A memory as it is kept."""

    id: UUID
    valid_from: datetime
    at: datetime
    valid_to: datetime | None = None
    """Since when it holds no longer: superseded or resolved. None: it is current."""
    superseded_by: UUID | None = None
    resolved_at: datetime | None = None
    """An open question answered, a task done."""
    reinforced: int = 0
    """How often it was told again."""
    created_at: datetime
    updated_at: datetime


class Remember(Contract):
    """Remember one thing. What is known already (same scopes, owner and content, and current) is only reinforced."""

    memory: NewMemory


class Remembered(Contract):
    """What became of it."""

    id: UUID
    """Of the memory, also of one that was there already."""
    created: bool
    redacted: int = 0
    """Secrets that were taken out."""


class Supersede(Contract):
    """Put a new memory in the place of another: the old stays, with the end of its validity."""

    id: UUID
    memory: NewMemory
    at: Moment | None = None
    """Since when the new one holds. Default: now."""


class Resolve(Contract):
    """An open question is answered, a fact holds no longer; nothing takes its place."""

    id: UUID
    reason: str = ""
    at: Moment | None = None


class Forget(Contract):
    """Remove for good: rows, postings, vectors, artifacts and episodes. Exactly one of the three is named."""

    memory_ids: Annotated[tuple[UUID, ...], Field(max_length=5_000)] = ()
    session_id: SessionId | None = None
    scope: Scope | None = None
    reason: str = ""


class Forgotten(Contract):
    """The receipt of a removal; kept, without what was removed."""

    receipt: UUID
    memories: int = 0
    messages: int = 0
    chunks: int = 0
    artifacts: int = 0
    episodes: int = 0
    others: int = 0
    """Snapshots, todos, claims, pending outbox rows."""
    held: int = 0
    """Kept by a legal hold."""
    left: int = 0
    """What a second look still found; 0 proves the removal."""


# ---- sessions


class SessionStart(Contract):
    """Begin a session, or take it up again; the same id again only adds what was empty."""

    session_id: SessionId
    agent: str = ""
    """Who works: `claude-code`, `system_monitor`."""
    scope: Scope = DEFAULT_SCOPE
    title: str = ""
    owner: str = ""
    metadata: Json = Field(default_factory=dict)
    at: Moment | None = None


class NewMessage(Message):
    """A message to append."""

    id: UUID | None = None
    """Default: a new one. The same id again is stored once, and answered with its place."""
    at: Moment | None = None
    """When it was said. Default: now."""
    from_memory: bool = False
    """It was injected from memory: kept for the transcript, never indexed and never learned from."""


class Append(Contract):
    """Append messages to a session, in order; all of them or none."""

    session_id: SessionId
    messages: Annotated[tuple[NewMessage, ...], Field(min_length=1, max_length=500)]


class Appended(Contract):
    """Where they stand."""

    seqs: tuple[int, ...]
    ids: tuple[UUID, ...]
    redacted: int = 0
    tokens_before: int = 0
    """Of the messages as they came, estimated as characters / 4."""
    tokens_after: int = 0
    """As they are kept, after pruning."""


class StreamText(Contract):
    """More text of a message that is still being made. The first call begins the message."""

    session_id: SessionId
    message_id: UUID
    text: str = ""
    """What came since the last call; saved at most every 5 s, and at the end."""
    offset: int | None = None
    """Characters told before this call; a repeated call is then recognised. Default: it follows what is there."""
    role: Role = Role.ASSISTANT
    author: str = ""
    at: Moment | None = None


class StreamEnd(Contract):
    """A streamed message is complete, or was cut off."""

    session_id: SessionId
    message_id: UUID
    interrupted: bool = False
    parts: tuple[Part, ...] = ()
    """Parts beside the text, such as tool calls."""
    offset: int | None = None
    """Characters told in all; what a crash took of them is then told again instead of missing for ever. Default: what
    is there is all."""


class Messages(Contract):
    """A page of a session."""

    session_id: SessionId
    limit: Annotated[int, Field(ge=1, le=500)] = 20
    before: str | None = None
    """Cursor of an earlier page: what came before it. Default: the last ones."""
    after: str | None = None
    """Cursor: what came after it."""


class MessagePage(Contract):
    """Messages, oldest first."""

    messages: tuple[StoredMessage, ...]
    before: str | None = None
    """Cursor to what is older; None: there is nothing."""
    after: str | None = None
    """Cursor to what is newer; None: this is the end."""


class SessionEnd(Contract):
    """The session is over: what it decided, left open and learned is written down."""

    session_id: SessionId
    at: Moment | None = None


class SessionInfo(Contract):
    """A session."""

    id: str
    agent: str = ""
    scope: str = DEFAULT_SCOPE
    title: str = ""
    owner: str = ""
    messages: int = 0
    started_at: datetime
    last_at: datetime
    """Of its newest message."""
    ended_at: datetime | None = None
    understood: int = 0
    """Up to which message it was read for what to remember."""
    archived_at: datetime | None = None
    """Its messages lie in object storage since then."""
    metadata: Json = Field(default_factory=dict)


class ListSessions(Contract):
    """Sessions, the last used first."""

    scope: Scope | None = None
    agent: Name | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 20
    before: str | None = None


class SessionPage(Contract):
    """A page of sessions."""

    sessions: tuple[SessionInfo, ...]
    before: str | None = None


# ---- snapshots, todos, work, artifacts, working memory


class ContextType(StrEnum):
    """What a snapshot is of."""

    TASK = "task"
    SYSTEM = "system"
    ERROR = "error"
    DECISION = "decision"


class SessionSave(Contract):
    """Save where a session stands."""

    session_id: SessionId
    context_type: ContextType = ContextType.TASK
    context: Json
    """What the next session should know: goal, next step, files, anything. Secrets are redacted."""
    scope: Scope | None = None
    """Default: the session's."""
    tags: tuple[Tag, ...] = ()
    importance: Importance = 0.5
    expires_at: End | None = None
    at: Moment | None = None


class Snapshot(Contract):
    """A saved context."""

    id: UUID
    session_id: str
    scope: str
    timestamp: datetime
    context_type: ContextType
    context_data: Json
    tags: tuple[str, ...] = ()
    importance: float = 0.5
    expires_at: datetime | None = None


class TodoStatus(StrEnum):
    """How far open work has come."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    DONE = "done"
    DROPPED = "dropped"


class TodoAdd(Contract):
    """Write down open work."""

    title: str
    scope: Scope = DEFAULT_SCOPE
    status: TodoStatus = TodoStatus.OPEN
    progress: Annotated[int, Field(ge=0, le=100)] = 0
    """Per cent."""
    blocker: str = ""
    """What or whom it waits for."""
    importance: Importance = 0.5
    session_id: str = ""
    id: UUID | None = None
    at: Moment | None = None


class TodoUpdate(Contract):
    """Change a todo; what is not given stays."""

    id: UUID
    title: str | None = None
    status: TodoStatus | None = None
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    blocker: str | None = None
    importance: Importance | None = None
    at: Moment | None = None


class TodoList(Contract):
    """Todos of a scope, blocked and important ones first."""

    scope: Scope | None = None
    include_done: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class Todo(Contract):
    """Open or finished work."""

    id: UUID
    scope: str
    title: str
    status: TodoStatus
    progress: int
    blocker: str = ""
    importance: float = 0.5
    session_id: str = ""
    created_at: datetime
    updated_at: datetime
    done_at: datetime | None = None


class Todos(Contract):
    """Todos."""

    todos: tuple[Todo, ...]


class WorkState(StrEnum):
    """Of a piece of work."""

    CLAIMED = "claimed"
    DONE = "done"
    RELEASED = "released"


class WorkItem(Contract):
    """A piece of work that somebody does or has done."""

    id: UUID
    scope: str
    description: str
    state: WorkState
    claimed_by: str = ""
    claimed_at: datetime
    lease_until: datetime | None = None
    """A claim that was not renewed by then may be taken by another."""
    done_at: datetime | None = None
    outcome: str = ""
    session_id: str = ""


class WorkCheck(Contract):
    """Has this been done, or is somebody at it, perhaps in other words?"""

    description: str
    scope: Scope = DEFAULT_SCOPE
    owner: Name = ""
    """Who asks: what was said of work in other people's own sessions is left out."""
    at: Moment | None = None


class WorkMatch(Contract):
    """The work that was found to be the same."""

    item: WorkItem
    likeness: float
    """0 to 1."""
    why: str = ""


class WorkChecked(Contract):
    """The answer."""

    duplicate: bool
    match: WorkMatch | None = None


class WorkClaim(Contract):
    """Say that one is at it; refused (with the match) when somebody else is, or it is done."""

    description: str
    scope: Scope = DEFAULT_SCOPE
    claimed_by: str
    session_id: str = ""
    lease_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 60
    again: bool = False
    """Claim it although it has been done before."""


class WorkClaimed(Contract):
    """The claim, or what stands against it."""

    granted: bool
    item: WorkItem
    match: WorkMatch | None = None


class WorkDone(Contract):
    """A claim has come to its end."""

    id: UUID | None = None
    """The claim; None: work that was never claimed, by `description`."""
    description: str = ""
    scope: Scope = DEFAULT_SCOPE
    outcome: str = ""
    released: bool = False
    """It was given up, not done."""
    claimed_by: str = ""
    session_id: str = ""
    at: Moment | None = None


class Decide(Contract):
    """Write a decision down; one about the same `name` and scope takes the place of the earlier."""

    decision: str
    reason: str = ""
    alternatives: tuple[str, ...] = ()
    name: str = ""
    scope: Scope = DEFAULT_SCOPE
    importance: Importance = 0.8
    provenance: Provenance = Provenance()
    supersedes: UUID | None = None
    at: Moment | None = None


class SetWorking(Contract):
    """Keep a value for a while."""

    agent: str
    key: str
    value: JsonValue
    session_id: str = ""
    ttl_seconds: Annotated[int, Field(ge=3600, le=24 * 3600)] = 3600


class GetWorking(Contract):
    """Read what an agent keeps; one key or all."""

    agent: Name
    key: Name | None = None
    session_id: Name = ""


class WorkingValue(Contract):
    """A value that is kept for a while."""

    key: str
    value: JsonValue
    bytes: int
    expires_at: datetime


class WorkingValues(Contract):
    """Values, by key."""

    values: tuple[WorkingValue, ...]
    bytes: int
    """Of everything that the agent keeps; at most 1 MB."""


class DeleteWorking(Contract):
    """Give a value up before its time."""

    agent: str
    key: str
    session_id: str = ""


# ---- recall and restore


class Filters(Contract):
    """What a recall is limited to beside scope and kind."""

    agent: str | None = None
    task_type: str | None = None
    outcome: str | None = None
    provider: str | None = None
    most_cost: float | None = None
    session_id: str | None = None
    since: Moment | None = None
    until: End | None = None
    tags: tuple[str, ...] = ()


class RecallKind(StrEnum):
    """What is looked through."""

    SYSTEM_STATE = "system_state"
    TASK = "task"
    KNOWLEDGE = "knowledge"
    ERROR = "error"
    MESSAGE = "message"
    FAULT = "fault"
    """The knowledge base of faults and what helped."""


class Recall(Contract):
    """Find what is known about something."""

    query: str
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1, max_length=50)] = (DEFAULT_SCOPE,)
    owner: Name = ""
    kinds: tuple[RecallKind, ...] = ()
    """Default: all."""
    k: Annotated[int, Field(ge=1, le=1000)] | None = None
    """At most this many. Default: 10, unless a token budget is given."""
    token_budget: Annotated[int, Field(ge=1, le=100_000)] | None = None
    at: Moment | None = None
    """What held then. Default: now, and only what is current."""
    filters: Filters = Filters()
    precise: bool = False
    """Only memories that are called by their name, an alias or a relation: nothing rather than noise."""
    explain: bool = False
    """With the parts of each score, and what was looked at."""


class Score(Contract):
    """How a result was found: the parts of its score."""

    total: float
    lexical: float = 0.0
    neighbours: float = 0.0
    semantic: float = 0.0
    session: float = 0.0
    recency: float = 0.0
    importance: float = 0.0
    name: float = 0.0


class Recalled(Contract):
    """One result."""

    id: UUID
    """Of the memory or the message; `fetch` gives all of it."""
    kind: RecallKind
    type: str = ""
    text: str
    """The passage that was found, shortened to some 1,000 characters."""
    scope: str = ""
    session_id: str = ""
    seq: int = 0
    at: datetime
    score: Score
    source: str = ""
    """Where it comes from: session, file or workflow."""
    pinned: bool = False


class RecallResult(Contract):
    """What was found, best first."""

    results: tuple[Recalled, ...]
    pinned: tuple[Recalled, ...] = ()
    questions: tuple[Recalled, ...] = ()
    """Open questions that are pinned."""
    persona: str = ""
    sessions: tuple[str, ...] = ()
    """Sessions of the results, best first."""
    behind: int = 0
    """Rows that are not yet in the index of meanings; they are found by their words only."""
    took_ms: float = 0.0
    notes: tuple[str, ...] = ()
    """With `explain`: terms, candidates, weights, what was left out and why."""


class Fetch(Contract):
    """All of something, by its id from a recall or a reference."""

    ids: Annotated[tuple[UUID, ...], Field(max_length=50)] = ()
    artifact_keys: Annotated[tuple[Name, ...], Field(max_length=10)] = ()


class Artifact(Contract):
    """Content that lies in object storage."""

    key: str
    media_type: str
    bytes: int
    sha256: str
    text: str | None = None
    """The content, where it is text."""
    base64: str | None = None
    """The content otherwise."""


class Fetched(Contract):
    """What was asked for; ids of which nothing is known are named."""

    memories: tuple[Memory, ...] = ()
    messages: tuple[StoredMessage, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    unknown: tuple[str, ...] = ()


class Restore(Contract):
    """What the next session of a scope should know, as text to inject."""

    scope: Scope = DEFAULT_SCOPE
    prompt: str = ""
    """The first prompt of the new session, where it is known."""
    session_id: Name = ""
    """A session to continue. Default: the last ones of the scope."""
    owner: Name = ""
    budget_tokens: Annotated[int, Field(ge=50, le=100_000)] = 2000
    at: Moment | None = None


class Restored(Contract):
    """What to inject; in a stable order, so that prompt caches hit."""

    text: str
    """Empty when nothing is known. Wrapped in the tag by which memory knows its own text again."""
    tokens: int
    used: tuple[str, ...] = ()
    """Ids of what stands in it."""
    sessions: tuple[str, ...] = ()
    duplicate: WorkMatch | None = None
    """Work that the prompt asks for and that has been done, or is claimed."""


# ---- looking after it


class Stats(Contract):
    """How much of what is kept."""

    sessions: int
    messages: int
    memories: int
    current: int
    chunks: int
    embedded: int
    outbox: int
    """Rows that wait for the index."""
    outbox_seconds: float
    """Age of the oldest of them."""
    artifacts: int
    artifact_bytes: int
    episodes: int
    todos_open: int
    work_claimed: int
    proposals_open: int
    tokens_before: int
    tokens_after: int
    redacted: int
    embedding_model: str = ""


class Problem(Contract):
    """Something that `verify` found."""

    kind: Literal[
        "row_without_postings", "row_without_vector", "vector_without_row", "artifact_without_object",
        "episode_without_object", "wrong_hash", "gap_in_session", "stale_model",
    ]  # fmt: skip
    what: str
    remedy: str = ""


class Verified(Contract):
    """What was looked at and what is wrong; the first 1,000 problems."""

    looked_at: int
    problems: tuple[Problem, ...] = ()
    count: int = 0


class Nothing(Contract):
    """Nothing is asked or answered."""
