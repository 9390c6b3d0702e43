"""How good a ranking is, against the ids that answer the question: recall, NDCG, reciprocal rank and hit, at a depth.

Every function takes the ranked ids, best first, and the set of those that are right; gain is 1 for each of these.
"""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

DEPTH = 10


@dataclass(frozen=True)
class Answered:
    """One question and what came back for it."""

    category: str
    ranked: Sequence[str]
    """Message ids, best first, none twice."""
    evidence: Collection[str]
    ranked_sessions: Sequence[str]
    evidence_sessions: Collection[str]


def recall_at(depth: int, ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    """Share of `right` that is among the first `depth`."""
    return len(set(ranked[:depth]) & set(right)) / len(set(right))


def hit_at(depth: int, ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    """1 when at least one of `right` is among the first `depth`, else 0."""
    return float(bool(set(ranked[:depth]) & set(right)))


def ndcg_at(depth: int, ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    """Discounted gain of the first `depth`, as a share of the best possible (Järvelin and Kekäläinen, 2002)."""
    wanted = set(right)
    gained = sum(1 / math.log2(place + 2) for place, found in enumerate(ranked[:depth]) if found in wanted)
    return gained / sum(1 / math.log2(place + 2) for place in range(min(depth, len(wanted))))


def reciprocal_rank(ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    """1 / the place of the first of `right`; 0 when none was found."""
    wanted = set(right)
    return next((1 / place for place, found in enumerate(ranked, start=1) if found in wanted), 0.0)


def scores(answers: Iterable[Answered], *, leave_out: str = "adversarial") -> dict[str, float]:
    """Means over all questions, and over those outside the category `leave_out` (`answerable_…`), by level."""
    everything = list(answers)
    rest = [answer for answer in everything if answer.category != leave_out]
    found = _means(everything)
    if 0 < len(rest) < len(everything):
        found |= {f"answerable_{name}": value for name, value in _means(rest).items()}
    return found


def by_category(answers: Iterable[Answered]) -> Mapping[str, Mapping[str, float]]:
    """The same means for each category, and how many questions it has (`questions`)."""
    groups: dict[str, list[Answered]] = {}
    for answer in answers:
        groups.setdefault(answer.category, []).append(answer)
    return {name: {"questions": len(group)} | _means(group) for name, group in sorted(groups.items())}


def _recall_at_5(ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    return recall_at(5, ranked, right)


def _recall_at_10(ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    return recall_at(DEPTH, ranked, right)


def _ndcg_at_10(ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    return ndcg_at(DEPTH, ranked, right)


def _hit_at_10(ranked: Sequence[Hashable], right: Collection[Hashable]) -> float:
    return hit_at(DEPTH, ranked, right)


_MEASURES: Mapping[str, Callable[[Sequence[Hashable], Collection[Hashable]], float]] = {
    "r5": _recall_at_5,
    "r10": _recall_at_10,
    "ndcg10": _ndcg_at_10,
    "mrr": reciprocal_rank,
    "hit10": _hit_at_10,
}


def _means(answers: Sequence[Answered]) -> dict[str, float]:
    levels = {
        "message": [(answer.ranked, answer.evidence) for answer in answers],
        "session": [(answer.ranked_sessions, answer.evidence_sessions) for answer in answers],
    }
    return {
        f"{level}_{name}": fmean(measure(ranked, right) for ranked, right in pairs)
        for level, pairs in levels.items()
        for name, measure in _MEASURES.items()
        if pairs
    }
