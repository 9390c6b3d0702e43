"""How a restored context is judged: facts that must be in it, traps that must not be, its length.

Lines that begin with `[superseded …]`, `[expired …]`, `[obsolete …]` or `[outdated …]` are history: they earn nothing and,
but for secrets, cost nothing but their tokens. Only what lies within the budget can earn.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel

CHARACTERS_PER_TOKEN = 4

_MARKED_AS_PAST = re.compile(
    r"^\W*?[\[(](superseded|expired|obsolete|outdated)\b[^\])\n]*[\])].*$", re.IGNORECASE | re.MULTILINE
)


class Event(BaseModel):
    """One thing that happened in a session."""

    at: AwareDatetime
    role: str
    tool: str | None = None
    text: str


class Session(BaseModel):
    """One session of a story."""

    id: str
    at: AwareDatetime
    events: tuple[Event, ...]


class Wanted(BaseModel):
    """A fact that must come back."""

    fact: str
    kind: str = "fact"
    any_of: tuple[str, ...]


class Trap(BaseModel):
    """Something that must not come back."""

    fact: str
    why: str
    any_of: tuple[str, ...]


class Offered(BaseModel):
    """Work that is offered, and whether it was done already."""

    offered: str
    is_duplicate: bool


class Resume(BaseModel):
    """The next session: what it asks, and what it should get."""

    at: AwareDatetime
    prompt: str
    budget_tokens: int
    must_include: tuple[Wanted, ...]
    must_not_include: tuple[Trap, ...]
    duplicate_work: Offered


class Story(BaseModel):
    """Sessions of one piece of work, and the next one."""

    id: str
    domain: str
    sessions: tuple[Session, ...]
    resume: Resume


@dataclass(frozen=True)
class Answer:
    """What was injected, and whether the offered work was taken for done."""

    text: str
    duplicate: bool | None


@dataclass(frozen=True)
class Verdict:
    """One story, judged."""

    story: Story
    found: tuple[bool, ...]
    sprung: tuple[bool, ...]
    tokens: float
    duplicate_right: bool

    @property
    def recall(self) -> float:
        """Facts found / facts."""
        return sum(self.found) / len(self.found)

    @property
    def over_budget(self) -> bool:
        """More text than the budget."""
        return self.tokens > self.story.resume.budget_tokens

    @property
    def passed(self) -> bool:
        """Every fact, no trap, within the budget."""
        return all(self.found) and not any(self.sprung) and not self.over_budget


def judge(story: Story, answer: Answer) -> Verdict:
    """Judge one answer."""
    resume, text = story.resume, answer.text
    current = _MARKED_AS_PAST.sub("", text)
    within = _MARKED_AS_PAST.sub("", text[: resume.budget_tokens * CHARACTERS_PER_TOKEN])
    return Verdict(
        story=story,
        found=tuple(_matches(item.any_of, within) for item in resume.must_include),
        sprung=tuple(
            _matches(item.any_of, text if item.why == "secret" else current) for item in resume.must_not_include
        ),
        tokens=len(text) / CHARACTERS_PER_TOKEN,
        duplicate_right=answer.duplicate == resume.duplicate_work.is_duplicate,
    )


def figures(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """The figures, flat."""
    found: dict[str, float] = {
        "stories": len(verdicts),
        "recall": _mean(verdict.recall for verdict in verdicts),
        "violations_mean": _mean(sum(verdict.sprung) for verdict in verdicts),
        "violations_count": sum(sum(verdict.sprung) for verdict in verdicts),
        "stories_with_violations": sum(any(verdict.sprung) for verdict in verdicts),
        "over_budget": sum(verdict.over_budget for verdict in verdicts),
        "tokens_mean": _mean(verdict.tokens for verdict in verdicts),
        "passed": sum(verdict.passed for verdict in verdicts),
        "duplicate_accuracy": _mean(verdict.duplicate_right for verdict in verdicts),
    }
    for truth in (True, False):
        part = [one for one in verdicts if one.story.resume.duplicate_work.is_duplicate is truth]
        found[f"duplicate_accuracy_{str(truth).lower()}"] = _mean(one.duplicate_right for one in part)
    groups: dict[str, list[float]] = defaultdict(list)
    for verdict in verdicts:
        groups[f"recall_{verdict.story.domain}"].append(verdict.recall)
        for item, hit in zip(verdict.story.resume.must_include, verdict.found, strict=True):
            groups[f"recall_kind_{item.kind}"].append(hit)
        for trap, hit in zip(verdict.story.resume.must_not_include, verdict.sprung, strict=True):
            groups[f"violations_share_{trap.why}"].append(hit)
    return found | {name: _mean(values) for name, values in sorted(groups.items())}


def _matches(patterns: Sequence[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else 0.0
