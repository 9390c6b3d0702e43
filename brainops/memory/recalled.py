"""What a recall answers with: results with their text and score, memories as beliefs, and all of it within a budget."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from brainops.contracts.memory import Memory, Recall, Recalled, RecallKind, RecallResult, Score
from brainops.memory.memory_rows import as_memory
from brainops.memory.mirror import position_of
from brainops.memory.passages import MOST_SHOWN, memory_document, memory_passage, message_document
from brainops.memory.pruner import CHARACTERS_PER_TOKEN
from brainops.memory.ranking import words
from brainops.memory.ranking.beliefs import MAX_QUESTIONS, Belief, BeliefType
from brainops.memory.ranking.fusion import Weights
from brainops.memory.ranking.rows import Scored

PERSONA = "persona"
"""Type of the memories that say what every agent should know of their owner."""

WEIGHTS = Weights()


def passes(memory: Memory, asked: Recall) -> bool:
    """Whether a memory passes those filters that the index does not know, or was not asked about."""
    filters = asked.filters
    if not set(filters.tags) <= set(memory.tags):
        return False
    if filters.session_id is not None and memory.provenance.session_id != filters.session_id:
        return False
    if filters.agent is not None and memory.provenance.agent != filters.agent:
        return False
    return (filters.since is None or memory.at >= filters.since) and (
        filters.until is None or memory.at < filters.until
    )


def as_result(found: Scored, sources: Mapping[UUID, Mapping[str, Any]], asked: Recall) -> Recalled | None:
    """A result with its text; None where its source is gone, or not among what is asked for."""
    row = sources.get(UUID(bytes=found.source))
    if row is None:
        return None
    parts = found.parts
    importance = 0.5 if "parts" in row else row["importance"]
    score = Score(
        total=found.score,
        lexical=parts.words,
        neighbours=parts.context,
        semantic=parts.cosine or 0.0,
        session=parts.session_z,
        recency=parts.factor - 1 - WEIGHTS.importance * (2 * importance - 1),
        importance=importance,
    )
    if "parts" in row:
        if asked.filters.tags:
            return None
        document = message_document(row["author"], row["parts"])
        first, last = _chunk(document, found)
        passage = document[first:last]
        return Recalled(
            id=row["id"],
            kind=RecallKind.MESSAGE,
            text=_excerpt(passage, asked.query),
            scope=row["scope"],
            session_id=row["session_id"],
            seq=row["seq"],
            at=row["at"],
            score=score,
            source=f"session:{row['session_id']}#{row['seq']}",
        )
    memory = as_memory(row)
    if not set(asked.filters.tags) <= set(memory.tags):
        return None
    return as_recalled(memory, score, memory_passage(row, *_chunk(memory_document(row), found)))


def _chunk(document: str, found: Scored) -> tuple[int, int]:
    """From where to where the chunk that was found goes; it is cut here as it was when it was indexed."""
    pieces = words.chunks(document)
    position = position_of(found.key)
    return (pieces[position].start, pieces[position].end) if position < len(pieces) else (0, len(document))


def as_recalled(memory: Memory, score: Score, shown: str | None = None) -> Recalled:
    if shown is None:
        shown = f"{memory.content} ({memory.why})" if memory.why else memory.content
    told = memory.provenance
    session = f"session:{told.session_id}" if told.session_id else ""
    return Recalled(
        id=memory.id,
        kind=RecallKind(memory.kind.value),
        type=memory.type,
        text=shown[:MOST_SHOWN],
        scope=memory.scopes[0],
        session_id=told.session_id,
        at=memory.at,
        score=score,
        source=told.source or session or told.workflow_id or told.actor,
        pinned=memory.pinned,
    )


def _excerpt(passage: str, query: str) -> str:
    """At most `MOST_SHOWN` characters of a passage: from a little before the first place that has words of the query."""
    if len(passage) <= MOST_SHOWN:
        return passage
    lower = passage.lower()
    places = [lower.find(word) for word in query.lower().split() if not words.is_stop_word(word)]
    first = min((place for place in places if place >= 0), default=0)
    start = max(0, min(first - MOST_SHOWN // 4, len(passage) - MOST_SHOWN))
    return passage[start : start + MOST_SHOWN]


def asks(memory: Memory) -> bool:
    return memory.type == BeliefType.OPEN_QUESTION.value


def persona_of(memories: Iterable[Memory], owner: str) -> str:
    """What an owner wants every agent to know of them."""
    return "\n".join(
        memory.content for memory in memories if memory.type == PERSONA and owner and memory.owner == owner
    )


def as_belief(memory: Memory) -> Belief:
    """A memory as precise recall knows it; scope, owner and validity were looked at already."""
    known = memory.type in _BELIEF_TYPES
    participants = memory.data.get("participants")
    confirmed = memory.data.get("last_reinforced_at")
    return Belief.model_validate(
        {
            "id": str(memory.id),
            "user": "",
            "type": memory.type if known else BeliefType.ENTITY,
            "canonical_name": memory.name,
            "aliases": memory.aliases,
            "subtype": memory.data.get("subtype"),
            "scope": memory.scopes,
            "confidence": memory.confidence,
            "pinned": memory.pinned,
            "reinforcement_count": memory.reinforced,
            "last_reinforced_at": confirmed or (memory.updated_at if memory.reinforced else memory.at),
            "participants": participants if isinstance(participants, list) else [],
        }
    )


_BELIEF_TYPES = {kind.value for kind in BeliefType}


def fitted(
    asked: Recall,
    notes: list[str],
    *,
    results: Sequence[Recalled],
    pinned: Sequence[Recalled],
    questions: Sequence[Recalled],
    persona: str,
) -> RecallResult:
    """An answer within the token budget, if there is one: what is pinned first, then results that fit, best first."""
    questions = questions[:MAX_QUESTIONS]
    budget = asked.token_budget
    if budget is None:
        return RecallResult(results=tuple(results), pinned=tuple(pinned), questions=tuple(questions), persona=persona)
    left = budget * CHARACTERS_PER_TOKEN
    if len(persona) > left:
        notes.append("the persona does not fit into the budget")
        persona = ""
    left -= len(persona)
    kept: list[list[Recalled]] = []
    given: set[UUID] = set()
    for tier in (pinned, questions, results):
        fits: list[Recalled] = []
        for one in tier:
            if one.id not in given and len(one.text) <= left:
                left -= len(one.text)
                given.add(one.id)
                fits.append(one)
        kept.append(fits)
    left_out = len({one.id for tier in (pinned, questions, results) for one in tier} - given)
    if left_out:
        notes.append(f"{left_out} did not fit into {budget} tokens")
    return RecallResult(results=tuple(kept[2]), pinned=tuple(kept[0]), questions=tuple(kept[1]), persona=persona)
