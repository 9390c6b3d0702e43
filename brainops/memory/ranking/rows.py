"""What goes into an index, what narrows a search, and what comes out of it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from brainops.memory.ranking import words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ATTRIBUTES: Final = ("agent", "task_type", "outcome", "provider", "model")
"""What a row may be asked by beside scope, kind, session, time, cost and importance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One chunk of a message or of a memory, prepared: terms counted, vector made.

    `key` names the row and `source` what it is a chunk of (the key itself where nothing is said); results name a
    source once. `seq` and `part` order the rows of a session; rows without a session have no neighbours. Times are
    POSIX seconds; `valid_to` is None while the row holds. `question`: its text ends in a question (`words.asks`).
    `vector` is None until it was embedded.
    """

    key: bytes
    scope: str
    kind: str
    terms: Mapping[str, int]
    at: float
    source: bytes | None = None
    session: str | None = None
    seq: int = 0
    part: int = 0
    valid_from: float | None = None
    """From when on it holds; None: from `at`."""
    valid_to: float | None = None
    question: bool = False
    importance: float = 0.5
    """0 to 1."""
    cost: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])
    """By the names of `ATTRIBUTES`."""
    vector: "NDArray[np.float32] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which rows are searched; None leaves a condition out. Statistics (idf, lengths, z) are those of these rows alone."""

    scopes: Set[str] | None = None
    kinds: Set[str] | None = None
    sessions: Set[str] | None = None
    attributes: Mapping[str, Set[str]] = field(default_factory=dict[str, Set[str]])
    since: datetime | None = None
    """Rows said at this moment or later."""
    until: datetime | None = None
    """Rows said before this moment."""
    valid_at: datetime | None = None
    """Rows that hold at this moment; None: whether or not they still hold."""
    cost_at_most: float | None = None
    """Rows without a cost are left out by it."""
    importance_at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a score is made of; `explain` shows it."""

    words: float
    """BM25 of the row itself."""
    context: float
    """What its neighbours in the session added to that, or a question of its own took from it."""
    words_z: float
    """Both together, in standard deviations of the rows searched."""
    cosine: float | None
    """With the query's vector; None where either is missing."""
    cosine_z: float
    session_z: float
    """BM25 of the whole session, likewise."""
    factor: float
    """By which recency and importance multiplied a positive sum."""
    coverage: float
    """Share of the query's terms, weighed by their rarity, that the row itself has: 0 to 1, and not relative to others."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One result: the best chunk of its source. Scores compare within one search only."""

    key: bytes
    source: bytes
    session: str | None
    at: float
    score: float
    parts: Parts


@dataclass(frozen=True, slots=True)
class ScoredSession:
    """A session and its best result."""

    session: str
    score: float
    best: Scored


def rank_sessions(results: list[Scored]) -> list[ScoredSession]:
    """The sessions of `results` (best first), each by its best result: the evidence is mostly in one message.

    What the session says as a whole is in each message's score already. Ask for enough results: 20 for each session
    wanted finds ten sessions in practice.
    """
    best: dict[str, Scored] = {}
    for result in results:
        if result.session is not None:
            best.setdefault(result.session, result)
    return [ScoredSession(session, result.score, result) for session, result in best.items()]


def document(author: str, text: str) -> str:
    """A message as it is indexed and embedded: with its author, by whom people ask ("what did Ada say about …")."""
    return f"{author}: {text}" if author else text


def prepared(author: str, text: str) -> list[tuple[words.Chunk, dict[str, int], bool]]:
    """The chunks of one message or memory, with the terms of each, and whether it asks; what `IndexRow` wants."""
    pieces = words.chunks(document(author, text))
    last = len(pieces) - 1
    return [
        (piece, words.counted(piece.text), index == last and words.asks(text)) for index, piece in enumerate(pieces)
    ]
