"""Precise recall of short structured memories: only what the query calls for, in four tiers.

A *belief* is a memory with a name and aliases: a preference, a decision, an entity, a relation between others, or an open
question. For these, being near is not enough: an agent that is told ten near-misses with each hit is told mostly noise.
So a belief is relevant only where the query names it (`names.py`); its content is not searched. What an agent must know
in any case is pinned to a scope instead. Scope, owner, supersession and resolution are conditions, never weights.

Pure: candidates come in, tiers go out, and the same candidates give the same tiers in the same order.
"""

from collections.abc import Callable, Iterable, Sequence, Set
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from brainops.contracts.base import Contract
from brainops.errors import BadInputError
from brainops.memory.ranking.names import Called, Text

MAX_BELIEFS: Final = 20
MAX_QUESTIONS: Final = 15

_EXPERTISE = "expertise"
"""Subtype of what a person is good at: it shapes the persona and is not a fact to be told."""

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


class BeliefType(StrEnum):
    """What kind of thing is believed."""

    PREFERENCE = "preference"
    DECISION = "decision"
    ENTITY = "entity"
    RELATION = "relation"
    OPEN_QUESTION = "open_question"


class Belief(Contract):
    """One memory with a name."""

    id: str
    user: str
    """Whose it is; nobody else's query finds it."""
    type: BeliefType
    canonical_name: str
    content: str = ""
    why_it_matters: str = ""
    subtype: str | None = None
    aliases: tuple[str, ...] = ()
    """Other names, and what people say when this is what they need to be told (`jest`, where the team uses another)."""
    scope: frozenset[str] = frozenset()
    epistemic_status: str = "active"
    confidence: float = Field(default=1.0, ge=0, le=1)
    pinned: bool = False
    """Told in its scopes whatever is asked."""
    reinforcement_count: int = 0
    last_reinforced_at: AwareDatetime | None = None
    resolved_at: AwareDatetime | None = None
    superseded_by: str | None = None
    relation_type: str | None = None
    participants: tuple[str, ...] = ()
    """Ids of the beliefs that a relation joins; it brings them with it."""

    @property
    def holds(self) -> bool:
        """Neither superseded nor resolved."""
        return self.superseded_by is None and self.resolved_at is None and self.epistemic_status != "superseded"

    @property
    def is_question(self) -> bool:
        """Open questions stand in a tier of their own."""
        return self.type is BeliefType.OPEN_QUESTION


class Tiers(Contract):
    """What comes back. No belief is in two tiers."""

    pinned: tuple[Belief, ...] = ()
    relevant: tuple[Belief, ...] = ()
    """Best first."""
    questions: tuple[Belief, ...] = ()
    persona: str = ""


def recall_beliefs(
    beliefs: Iterable[Belief],
    query: str,
    *,
    user: str,
    scopes: Set[str],
    max_beliefs: int = MAX_BELIEFS,
    persona: str = "",
    is_word: Callable[[str], bool] | None = None,
) -> Tiers:
    """The tiers for `query`, asked by `user` within `scopes`.

    - *pinned*: what is pinned in one of the scopes, latest confirmed first, at most `max_beliefs`.
    - *relevant*: what the query names, and the participants of each relation so found, in what `max_beliefs` leaves.
      A blank query names nothing.
    - *questions*: pinned open questions that are not resolved, at most 15; these are in no other tier.
    - *persona*: `persona` as given.

    `is_word` tells common words, which are never taken for misspelt names (`names.Text`).
    Raises BadInputError when `max_beliefs` is negative.
    """
    if max_beliefs < 0:
        raise BadInputError(f"max_beliefs: {max_beliefs} is negative; give 0 or more")
    reachable = [belief for belief in beliefs if belief.user == user and belief.scope & scopes and belief.holds]
    pinned = sorted((belief for belief in reachable if belief.pinned and not belief.is_question), key=_standing)
    questions = sorted((belief for belief in reachable if belief.pinned and belief.is_question), key=_standing)
    shown = pinned[:max_beliefs]
    open_to_query = {
        belief.id: belief
        for belief in reachable
        if not belief.pinned and not belief.is_question and belief.subtype != _EXPERTISE
    }
    relevant = _with_participants(_named(open_to_query.values(), Text(query, is_word)), open_to_query)
    return Tiers(
        pinned=tuple(shown),
        relevant=tuple(relevant[: max_beliefs - len(shown)]),
        questions=tuple(questions[:MAX_QUESTIONS]),
        persona=persona,
    )


def _named(beliefs: Iterable[Belief], text: Text) -> list[Belief]:
    """Those that `text` calls, best first."""
    called: list[tuple[Called, Belief]] = []
    for belief in beliefs:
        call = text.best((belief.canonical_name, *belief.aliases))
        if call is not None:
            called.append((call, belief))
    called.sort(key=lambda pair: (-pair[0].strength, _standing(pair[1])))
    return [belief for _, belief in called]


def _with_participants(found: Sequence[Belief], reachable: dict[str, Belief]) -> list[Belief]:
    """`found`, and behind it what its relations join: one hop, within the same conditions."""
    everything = {belief.id: belief for belief in found}
    for belief in found:
        for participant in belief.participants:
            if participant in reachable:
                everything.setdefault(participant, reachable[participant])
    return list(everything.values())


def _standing(belief: Belief) -> tuple[float, int, float, str]:
    """Order among equals: confirmed latest, then most often, then surest; ids last, so that it is one order."""
    confirmed = belief.last_reinforced_at or _NEVER
    return -confirmed.timestamp(), -belief.reinforcement_count, -belief.confidence, belief.id
