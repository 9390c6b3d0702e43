"""Cases of precise recall, and how an answer is judged: by what must, must not, and may only come back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

STRUCTURAL = frozenset(
    {
        "Scope disambiguation",
        "Supersession chain exclusion",
        "Type routing and open questions",
        "Budget eviction and capacity",
        "Cross-user isolation",
        "Ranking stability",
        "Persona prelude content",
    }
)
"""Categories in which nothing may be the right answer."""

OPEN_QUESTION = "open_question"


class Belief(BaseModel):
    """A short memory with a name."""

    id: str
    user: str
    type: str
    subtype: str | None = None
    canonical_name: str
    aliases: tuple[str, ...] = ()
    content: str
    why_it_matters: str = ""
    scope: tuple[str, ...]
    epistemic_status: str = "active"
    confidence: float = 1.0
    pinned: bool = False
    last_reinforced_at: AwareDatetime | None = None
    resolved_at: AwareDatetime | None = None
    superseded_by: str | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    relation_type: str | None = None
    participants: tuple[str, ...] = ()

    @property
    def moments(self) -> list[datetime]:
        """All times that it tells."""
        told = (self.created_at, self.updated_at, self.last_reinforced_at, self.resolved_at)
        return [moment for moment in told if moment is not None]


class User(BaseModel):
    """Whose beliefs they are."""

    persona: str = ""


class Defaults(BaseModel):
    """What holds where a case says nothing."""

    max_beliefs: int = 20


class Beliefs(BaseModel):
    """`beliefs.json`."""

    users: dict[str, User]
    defaults: Defaults = Defaults()
    beliefs: tuple[Belief, ...] = Field(min_length=1)

    @property
    def begun(self) -> datetime:
        """The first time that it tells."""
        return min(moment for belief in self.beliefs for moment in belief.moments)

    def pinned_of(self, user: str) -> set[str]:
        """Ids of the beliefs of `user` that are pinned."""
        return {belief.id for belief in self.beliefs if belief.pinned and belief.user == user}


class Create(BaseModel):
    """A belief comes to the others."""

    op: Literal["create"]
    belief: Belief


class AddAliases(BaseModel):
    """A belief is called by further names."""

    op: Literal["add_aliases"]
    belief: str
    aliases: tuple[str, ...]


Change = Annotated[Create | AddAliases, Field(discriminator="op")]


class Wanted(BaseModel):
    """Ids that a tier must, must not, or may only have."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    exactly: tuple[str, ...] | None = None


class WantedPersona(BaseModel):
    """What the persona must be."""

    non_empty: bool = False
    empty: bool = False
    contains: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()


class Expected(BaseModel):
    """What must come back."""

    relevant: Wanted = Wanted()
    pinned: Wanted = Wanted()
    questions: Wanted = Wanted()
    persona: WantedPersona = WantedPersona()
    noise: tuple[str, ...] = ()


class Turn(BaseModel):
    """One query, and what it must give."""

    turn: int | str | None = None
    scope: tuple[str, ...]
    query: str
    max_beliefs: int | None = None
    expect: Expected
    then: tuple[Change, ...] = ()
    """What changes after it."""


class Case(BaseModel):
    """One query, or a session of several."""

    id: str
    kind: Literal["single", "session"]
    category: str
    user: str
    scope: tuple[str, ...] = ()
    query: str = ""
    max_beliefs: int | None = None
    expect: Expected = Expected()
    before: tuple[Change, ...] = ()
    turns: tuple[Turn, ...] = ()

    @property
    def units(self) -> Sequence[Turn]:
        """What is asked and judged."""
        if self.turns:
            return self.turns
        return (Turn(scope=self.scope, query=self.query, max_beliefs=self.max_beliefs, expect=self.expect),)

    @property
    def changes(self) -> list[Change]:
        """All that changes while it runs."""
        return [*self.before, *(change for turn in self.turns for change in turn.then)]


class Given(BaseModel):
    """What came back: ids, best first."""

    relevant: list[str]
    pinned: list[str]
    questions: list[str]
    persona: str


@dataclass(frozen=True)
class Judged:
    """One case or turn."""

    name: str
    case: Case
    failures: tuple[str, ...]
    precision: float | None
    """None: not counted."""
    recall: float | None

    @property
    def passed(self) -> bool:
        """Every assertion holds."""
        return not self.failures

    @property
    def active(self) -> bool:
        """Passed by giving something back that was called for."""
        return self.passed and bool(self.precision)

    @property
    def structural(self) -> bool:
        """Of a category in which a system cannot pass by chance."""
        return self.case.category in STRUCTURAL


def judge(case: Case, turn: Turn, given: Given, seed: Beliefs) -> Judged:
    """Judge one answer."""
    relevant, both = set(given.relevant), set(given.relevant) | set(given.pinned)
    gold = _gold(case, turn.expect.relevant, seed)
    return Judged(
        name=case.id if turn.turn is None else f"{case.id}#{turn.turn}",
        case=case,
        failures=tuple(_failures(turn.expect, given)),
        precision=_precision(gold, both, relevant, in_session=bool(case.turns)),
        recall=len(gold & (both if case.turns else relevant)) / len(gold) if gold else None,
    )


def figures(judged: Sequence[Judged]) -> dict[str, float]:
    """The benchmark's figures: means over what counts, and how many passed and how."""
    structural = [one for one in judged if one.structural]
    return {
        "cases": len(judged),
        "passed": sum(one.passed for one in judged),
        "active": sum(one.active for one in judged),
        "mean_precision": _mean(one.precision for one in judged),
        "mean_recall": _mean(one.recall for one in judged),
        "structural_share": sum(one.passed for one in structural) / len(structural) if structural else 1.0,
    }


def _gold(case: Case, wanted: Wanted, seed: Beliefs) -> set[str]:
    if wanted.exactly is not None:
        return set(wanted.exactly)
    pinned: set[str] = set() if case.turns else seed.pinned_of(case.user)
    return set(wanted.include) - pinned


def _precision(gold: set[str], both: set[str], relevant: set[str], *, in_session: bool) -> float | None:
    if relevant:
        return len(gold & (both if in_session else relevant)) / len(relevant)
    return None if in_session or not gold else 0.0


def _failures(expected: Expected, given: Given) -> Iterable[str]:
    relevant, pinned = set(given.relevant), set(given.pinned)
    if expected.relevant.exactly is not None:
        exactly = set(expected.relevant.exactly)
        yield from (f"unexpected {one}" for one in sorted(relevant - exactly))
        yield from (f"missing {one}" for one in sorted(exactly - relevant))
    tiers = (
        (expected.relevant, relevant | pinned),
        (expected.pinned, pinned),
        (expected.questions, set(given.questions)),
    )
    for wanted, there in tiers:
        yield from (f"missing {one}" for one in wanted.include if one not in there)
        yield from (f"forbidden {one}" for one in wanted.exclude if one in there)
    yield from (f"noise {one}" for one in expected.noise if one in relevant | pinned)
    yield from _failures_of_persona(expected.persona, given.persona)


def _failures_of_persona(expected: WantedPersona, persona: str) -> Iterable[str]:
    if expected.non_empty and not persona:
        yield "the persona is empty"
    if expected.empty and persona:
        yield "the persona is not empty"
    yield from (f"the persona lacks {text!r}" for text in expected.contains if text not in persona)
    yield from (f"the persona has {text!r}" for text in expected.not_contains if text in persona)


def _mean(values: Iterable[float | None]) -> float:
    counted = [value for value in values if value is not None]
    return fmean(counted) if counted else float("nan")
