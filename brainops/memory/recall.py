"""Recall: what is known about something, the best first, each result with the parts of its score and its source.

By default what is current, and everything that was committed before the question was asked; `at` asks for the past.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import TextClause, text

from brainops.contracts.memory import Recall, Recalled, RecallKind, RecallResult, Score
from brainops.database.engine import Database
from brainops.errors import BrainOpsError
from brainops.memory.episodic import EpisodeStore
from brainops.memory.faults import ENTRIES, among
from brainops.memory.indexing import Indexer
from brainops.memory.memory_rows import as_memory
from brainops.memory.mirror import IndexMirror, scope_name
from brainops.memory.passages import MOST_SHOWN
from brainops.memory.ranking import words
from brainops.memory.ranking.beliefs import recall_beliefs
from brainops.memory.ranking.embedding import Embedder
from brainops.memory.ranking.rows import Filters, Scored, rank_sessions
from brainops.memory.recalled import (
    PERSONA,
    WEIGHTS,
    as_belief,
    as_recalled,
    as_result,
    asks,
    fitted,
    passes,
    persona_of,
)
from brainops.memory.validation import MAX_MEMORY_TEXT, checked_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from brainops.memory.ranking.index import TenantIndex

DEFAULT_RESULTS = 10
MOST_RESULTS = 1_000
MOST_FAULTS = 3
"""Entries of the knowledge base among other results; asked for alone there may be more."""
MOST_BELIEFS = 20_000
"""Memories that a precise recall looks through: the newest of its scopes."""

_INLINE = 5_000
"""Rows up to which a search is done where it was asked for: some ms at most. A larger one goes to a thread."""

MOST_ARCHIVED = 20
"""Results among which archived messages are read from object storage."""

_FOR_SESSIONS = 200
"""Results from which sessions are ranked."""

_SPARE = 10
"""Results beyond those wanted, for such as were removed meanwhile."""

_FOR_TAGS = 10
"""Results are looked for this many times over where tags, which the index does not know, choose among them."""

_MESSAGES = text("""
    SELECT message.id, message.session_id, message.seq, message.author, message.parts, message.at, session.scope
    FROM brainops.messages AS message JOIN brainops.sessions AS session ON session.id = message.session_id
    WHERE message.id = ANY(:ids)
""")

_MEMORIES = text("SELECT * FROM brainops.persistent_memory WHERE id = ANY(:ids)")

_SCOPES = text("""
    SELECT source_id, scopes[1] AS scope FROM brainops.memory_chunks
    WHERE source_id = ANY(:ids) AND position = 0 AND source = 'message' AND NOT removed
""")

_HOLDING = """
    scopes && CAST(:scopes AS text[]) AND owner = ANY(:owners)
    AND valid_from <= :at AND (valid_to IS NULL OR valid_to > :at) AND (expires_at IS NULL OR expires_at > :at)
    AND (CAST(:kinds AS text[]) = '{}' OR kind = ANY(:kinds))
"""


# What is current has indexes of its own; the past of a scope is read through.
def _kept(which: str) -> TextClause:
    return text(f"""
        SELECT * FROM brainops.persistent_memory WHERE {which} AND {_HOLDING} ORDER BY importance DESC, at DESC, id LIMIT 200
    """)  # noqa: S608 - made of constants


_PINNED_NOW, _PINNED_THEN = _kept("pinned AND valid_to IS NULL"), _kept("pinned")
_PERSONA_THEN = _kept(f"owner = :owner AND type = '{PERSONA}'")
_PERSONA_NOW = _kept(f"owner = :owner AND type = '{PERSONA}' AND valid_to IS NULL")

_NAMED = text(f"""
    SELECT * FROM brainops.persistent_memory WHERE (name <> '' OR pinned OR type = '{PERSONA}') AND {_HOLDING}
    ORDER BY at DESC, id LIMIT :limit
""")  # noqa: S608 - made of constants


@dataclass
class _Question:
    """A request as it is worked on."""

    asked: Recall
    at: datetime
    notes: list[str] = field(default_factory=list[str])

    @property
    def most(self) -> int:
        if self.asked.k is not None:
            return self.asked.k
        return DEFAULT_RESULTS if self.asked.token_budget is None else _FOR_SESSIONS

    @property
    def owners(self) -> list[str]:
        return ["", self.asked.owner] if self.asked.owner else [""]

    def wants(self, *kinds: RecallKind) -> bool:
        return not self.asked.kinds or any(kind in kinds for kind in self.asked.kinds)

    @property
    def memory_kinds(self) -> list[str]:
        return [kind.value for kind in self.asked.kinds if kind not in _NO_MEMORY]

    @property
    def only_elsewhere(self) -> bool:
        """No memory is asked for."""
        return bool(self.asked.kinds) and not self.memory_kinds

    @property
    def holding(self) -> dict[str, Any]:
        """The values of `_HOLDING`."""
        scopes = list(self.asked.scopes)
        return {"scopes": scopes, "owners": self.owners, "at": self.at, "kinds": self.memory_kinds}


_NO_MEMORY = (RecallKind.MESSAGE, RecallKind.FAULT)


class Recaller:
    """Answers recalls of one tenant, by an index that is loaded at the first. Belongs to one event loop.

    Without `embedder`, or while it is away, by words alone. `episodes`: where archived messages are read; without it
    they are not among the results.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None,
        indexer: Indexer,
        episodes: EpisodeStore | None = None,
    ) -> None:
        self._database = database
        self._episodes = episodes
        self._embedder = embedder
        self._mirror = IndexMirror(database, embedder, indexer)
        self._lock = asyncio.Lock()

    @property
    def rows(self) -> int:
        """Rows that the index holds in memory now."""
        return len(self._mirror)

    @property
    def load_seconds(self) -> float:
        """What loading the index took."""
        return self._mirror.load_seconds

    async def load(self) -> None:
        """Load the index before the first recall does."""
        async with self._lock:
            await self._mirror.caught_up()

    async def recall(self, request: Recall) -> RecallResult:
        """See the request and its answer. A blank query finds nothing but what is pinned."""
        started = monotonic()
        checked_text(request.query, "query", MAX_MEMORY_TEXT, may_be_blank=True)
        question = _Question(request, request.at or datetime.now(UTC))
        answer = await (self._precise(question) if request.precise else self._ranked(question))
        return answer.model_copy(
            update={
                "took_ms": round((monotonic() - started) * 1_000, 3),
                "notes": tuple(question.notes) if request.explain else (),
            }
        )

    async def _precise(self, question: _Question) -> RecallResult:
        """Memories that the query names."""
        if question.only_elsewhere:
            question.notes.append("precise: only memories have names; nothing else was looked through")
            return RecallResult(results=())
        rows = await self._database.read(_NAMED, question.holding | {"limit": MOST_BELIEFS})
        memories = {str(row["id"]): as_memory(row) for row in rows}
        chosen = {key: memory for key, memory in memories.items() if passes(memory, question.asked)}
        tiers = recall_beliefs(
            [as_belief(memory) for memory in chosen.values() if memory.type != PERSONA],
            question.asked.query,
            user="",
            scopes=set(question.asked.scopes),
            max_beliefs=question.most,
        )
        question.notes.append(
            f"precise: {len(memories)} named memories of the scopes, {len(tiers.relevant)} are called"
        )
        named = Score(total=1.0, name=1.0)
        return fitted(
            question.asked,
            question.notes,
            results=[as_recalled(memories[belief.id], named) for belief in tiers.relevant],
            pinned=[as_recalled(memories[belief.id], Score(total=0.0)) for belief in tiers.pinned],
            questions=[as_recalled(memories[belief.id], Score(total=0.0)) for belief in tiers.questions],
            persona=persona_of(memories.values(), question.asked.owner),
        )

    async def _ranked(self, question: _Question) -> RecallResult:
        """What the index of words and meanings finds, with what is pinned."""
        found: list[Scored] = []
        behind = 0
        if question.wants(*(kind for kind in RecallKind if kind is not RecallKind.FAULT)):
            found, behind = await self._search(question)
        ranked = dict.fromkeys(one.session for one in rank_sessions(found))
        if not question.asked.filters.tags:
            found = found[: question.most + _SPARE]
        wanted = _faults(question) | _sources(question, found) | _always(question)
        told = (
            dict(zip(wanted, await self._database.read_together(list(wanted.values())), strict=True)) if wanted else {}
        )
        faults = await _about(question, told.get("faults", ()))
        sources = {row["id"]: row for name in ("messages", "memories") for row in told.get(name, ())}
        kept = {row["id"]: row for name in ("pinned", "persona") for row in told.get(name, ())}
        memories = [as_memory(row) for row in kept.values()]
        await self._add_archived(question, found, sources)
        results = [result for one in found if (result := as_result(one, sources, question.asked)) is not None]
        question.notes.append(f"{len(found)} found in the index, {len(results)} of them pass and are there")
        answer = fitted(
            question.asked,
            question.notes,
            results=(faults + results)[: question.most],
            pinned=[as_recalled(one, Score(total=0.0)) for one in memories if one.pinned and not asks(one)],
            questions=[as_recalled(one, Score(total=0.0)) for one in memories if one.pinned and asks(one)],
            persona=persona_of(memories, question.asked.owner),
        )
        return answer.model_copy(update={"behind": behind, "sessions": tuple(ranked)[: max(question.most, 10)]})

    async def _search(self, question: _Question) -> tuple[list[Scored], int]:
        terms = words.terms(question.asked.query)
        vector = await self._vector(question)
        more = _FOR_TAGS if question.asked.filters.tags else 1
        most = min(max(question.most * more, _FOR_SESSIONS), MOST_RESULTS)
        filters = _filters(question)
        async with self._lock:
            index = await self._mirror.caught_up()
            started = monotonic()
            if len(index) <= _INLINE:
                found = _search(index, terms, vector, filters, most, question.at)
            else:
                found = await asyncio.to_thread(_search, index, terms, vector, filters, most, question.at)
            behind = self._mirror.behind
            took = (monotonic() - started) * 1_000
        question.notes += [
            f"terms: {' '.join(dict.fromkeys(terms)) or 'none'}",
            f"searched by words{' and meaning' if vector is not None else ' alone'} among {len(index)} passages in {took:.1f} ms",
            f"score: z(words + neighbours) + {WEIGHTS.cosine:g} z(meaning) + {WEIGHTS.session:g} z(session)",
            f"a positive score is multiplied by recency (at most +{WEIGHTS.recency:g}) and importance (±{WEIGHTS.importance:g})",
        ]
        if behind:
            question.notes.append(f"{behind} passages have no vector yet and are found by their words only")
        return found, behind

    async def _vector(self, question: _Question) -> "NDArray[np.float32] | None":
        if self._embedder is None or not question.asked.query.strip():
            return None
        try:
            return (await self._embedder.embed([question.asked.query]))[0]
        except BrainOpsError as error:
            question.notes.append(f"the embedder is away: {error}")
            return None

    async def _add_archived(
        self, question: _Question, found: Sequence[Scored], sources: dict[UUID, dict[str, Any]]
    ) -> None:
        """Messages among the results that are no longer rows, from object storage; while that is away they are left out."""
        if self._episodes is None or not question.wants(RecallKind.MESSAGE):
            return
        best = [UUID(bytes=one.source) for one in found[: min(question.most, MOST_ARCHIVED)]]
        missing = [one for one in best if one not in sources]
        if not missing:
            return
        rows = await self._database.read(_SCOPES, {"ids": missing})
        places = {row["source_id"]: row["scope"] for row in rows}
        try:
            messages = await self._episodes.find(list(places))
        except BrainOpsError as error:
            question.notes.append(f"{len(places)} archived messages cannot be read: {error}")
            return
        for message in messages:
            told = {"id": message.id, "at": message.at, "scope": places[message.id]}
            sources[message.id] = message.model_dump(mode="json") | told


_Queries = dict[str, tuple[TextClause, Mapping[str, object]]]
"""By a name of ours: what is read in one round trip."""


def _sources(question: _Question, found: Sequence[Scored]) -> _Queries:
    """The rows of what was found."""
    if not found:
        return {}
    ids = {"ids": [UUID(bytes=one.source) for one in found]}
    messages: _Queries = {"messages": (_MESSAGES, ids)} if question.wants(RecallKind.MESSAGE) else {}
    memories: _Queries = {} if question.only_elsewhere else {"memories": (_MEMORIES, ids)}
    return messages | memories


def _always(question: _Question) -> _Queries:
    """What is pinned, and what the owner wants known of them."""
    if question.only_elsewhere:
        return {}
    past = question.asked.at is not None
    pinned: _Queries = {"pinned": (_PINNED_THEN if past else _PINNED_NOW, question.holding)}
    if not question.asked.owner:
        return pinned
    values = question.holding | {"owner": question.asked.owner}
    return pinned | {"persona": (_PERSONA_THEN if past else _PERSONA_NOW, values)}


def _faults(question: _Question) -> _Queries:
    if not question.wants(RecallKind.FAULT) or question.asked.filters != _NO_FILTERS:
        return {}
    return {"faults": (ENTRIES, {"at": question.at})}


async def _about(question: _Question, entries: Sequence[Mapping[str, Any]]) -> list[Recalled]:
    """Entries of the knowledge base that the question is about."""
    if not entries:
        return []
    alone = question.asked.kinds == (RecallKind.FAULT,)
    most = question.most if alone else min(MOST_FAULTS, question.most)
    found = (await asyncio.to_thread(among, entries, question.asked.query))[:most]
    question.notes.append(f"{len(found)} entries of the knowledge base are about it")
    return [
        Recalled(
            id=fault.id,
            kind=RecallKind.FAULT,
            type="fault",
            text=fault.text[:MOST_SHOWN],
            at=fault.at,
            score=Score(total=fault.total, lexical=fault.said, name=fault.line, importance=fault.success_rate),
            source=f"knowledge:{fault.signature}",
        )
        for fault in found
    ]


_NO_FILTERS = Recall(query="").filters


def _search(
    index: "TenantIndex",
    terms: Sequence[str],
    vector: "NDArray[np.float32] | None",
    filters: Filters,
    most: int,
    now: datetime,
) -> list[Scored]:
    return index.search(terms, vector, filters=filters, k=most, weights=WEIGHTS, now=now)


def _filters(question: _Question) -> Filters:
    asked = question.asked.filters
    attributes = {
        "agent": asked.agent,
        "task_type": asked.task_type,
        "outcome": asked.outcome,
        "provider": asked.provider,
    }
    return Filters(
        scopes={scope_name(owner, scope) for owner in question.owners for scope in question.asked.scopes},
        kinds={kind.value for kind in question.asked.kinds} or None,
        sessions={asked.session_id} if asked.session_id is not None else None,
        attributes={name: {value} for name, value in attributes.items() if value is not None},
        since=asked.since,
        until=asked.until,
        valid_at=question.at,
        cost_at_most=asked.most_cost,
    )
