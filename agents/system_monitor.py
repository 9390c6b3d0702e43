"""SystemMonitor: is it broken, why, what to try, did it help.

Its choice of a remedy needs no model: what a runbook says comes first, then what worked against the same signature,
what worked against a similar one, what the evidence explains, and what costs least when it is wrong.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from math import sqrt

from agents.charter import Charter
from brainops.contracts.agent import ActionClass, AgentName, Autonomy
from brainops.contracts.incident import Attempt, Candidate, Choice, Knowledge, KnownRemedy

CHARTER = Charter(
    name=AgentName.SYSTEM_MONITOR,
    purpose="Decides whether a service is broken, why, what to try, and whether it helped.",
    capabilities=(
        "watch services by HTTP, TCP and process checks",
        "find the root of a fault through declared dependencies",
        "choose, verify and undo remedies, and learn which ones help",
        "hand a fault to a person with everything that is known",
    ),
    actions=frozenset(ActionClass),
    autonomy=Autonomy.ACT,
    has_job=True,
    job="watches the declared services and heals them as far as each one's autonomy allows",
)

MOST_ATTEMPTS = 5
"""Remedies tried in one incident before a person must look."""

CREDIBLE_RATE = 0.3
"""A remedy whose credible success rate reaches this is known to work. One success and no failure does."""

_TENTH_PERCENTILE = -1.2816
"""Of the standard normal distribution."""

_LONGEST = 500


def credible_success_rate(successes: float, failures: float) -> float:
    """The rate that the true success rate exceeds with 90 % probability, between 0 and 1.

    The 10 % quantile of the posterior Beta(1 + successes, 1 + failures) under a uniform prior, by the normal
    approximation (Gelman et al., Bayesian Data Analysis, 3rd ed., section 4.1). For the few trials of an operations
    crew it is at most 0.05 too high (one success: 0.36, exactly 0.32), and it orders remedies as the exact value does.
    """
    alpha, beta = 1 + successes, 1 + failures
    total = alpha + beta
    mean = alpha / total
    deviation = sqrt(alpha * beta / (total * total * (total + 1)))
    return max(0.0, mean + _TENTH_PERCENTILE * deviation)


class _Place(IntEnum):
    """Where a candidate stands. What is known of similar faults is never before what is known of this one."""

    RUNBOOK = 0
    KNOWN = 1
    KNOWN_ALIKE = 2
    OPEN = 3
    NEVER_HELPED_ALIKE = 4
    NEVER_HELPED = 5


@dataclass(frozen=True)
class _Ranked:
    """A candidate with what decides its place."""

    candidate: Candidate
    position: int
    record: KnownRemedy

    @property
    def rate(self) -> float:
        """Trials against a similar signature count as much as it is similar: three at 0.8 are 2.4."""
        weight = self.record.similarity
        return credible_success_rate(weight * self.record.successes, weight * self.record.failures)

    @property
    def similar(self) -> bool:
        return bool(self.record.like)

    @property
    def known(self) -> bool:
        return self.record.successes > 0 and self.rate >= CREDIBLE_RATE

    @property
    def never_helped(self) -> bool:
        return self.record.failures > 0 and self.record.successes == 0

    @property
    def by_runbook(self) -> bool:
        """A runbook asks for it, and it has not failed against this very signature without ever helping."""
        return bool(self.candidate.runbook) and (self.similar or not self.never_helped)

    @property
    def place(self) -> _Place:
        if self.by_runbook:
            return _Place.RUNBOOK
        if self.known:
            return _Place.KNOWN_ALIKE if self.similar else _Place.KNOWN
        if self.never_helped and not (self.similar and self.candidate.explains):
            return _Place.NEVER_HELPED_ALIKE if self.similar else _Place.NEVER_HELPED
        return _Place.OPEN

    @property
    def order(self) -> tuple[int, int, float, bool, int, int]:
        """Smaller comes first."""
        step = self.candidate.runbook_place if self.by_runbook else 0
        rate = -self.rate if self.known and not self.by_runbook else 0.0
        return self.place, step, rate, not self.candidate.explains, self.candidate.cost, self.position

    @property
    def history(self) -> str:
        trials = self.record.successes + self.record.failures
        where = "there" if self.similar else "against this signature"
        return f"helped {self.record.successes} of {trials} times {where}"

    @property
    def likeness(self) -> str:
        """`like crash/process/exited/ab12 (0.87)`."""
        return f"like {self.record.like} ({self.record.similarity:.2f})"


def choose_remedy(candidates: Sequence[Candidate], knowledge: Knowledge, tried: Sequence[Attempt]) -> Choice | None:
    """The remedy to try next, or None if nothing is left that could help.

    `candidates`: in the registry's order, from the newest evidence. `tried`: the attempts of this incident; none of
    them is repeated, and `MOST_ATTEMPTS` of them are the end. What a standing cause rules out is passed over, even if
    it helped before.
    """
    if len(tried) >= MOST_ATTEMPTS:
        return None
    attempted = {attempt.remedy for attempt in tried}
    ruled_out = _ruled_out(candidates)
    records = _records(knowledge)
    open_to_choice = [
        _Ranked(candidate, position, records.get(candidate.remedy, KnownRemedy(remedy=candidate.remedy)))
        for position, candidate in enumerate(candidates)
        if candidate.remedy not in attempted and candidate.remedy not in ruled_out
    ]
    if not open_to_choice:
        return None
    ranking = sorted(open_to_choice, key=lambda ranked: ranked.order)
    best = ranking[0]
    passed_over = [f"{name} ({why})" for name, why in _passed_over(candidates, attempted, ruled_out)]
    return Choice(
        candidate=best.candidate,
        reason=_reason(best)[:_LONGEST],
        alternatives=(
            *(f"{other.candidate.remedy} ({_why_later(best, other)})" for other in ranking[1:]),
            *passed_over,
        ),
        known=best.known,
    )


def escalation_summary(headline: str, reason: str, summaries: Sequence[str], runbooks: Sequence[str] = ()) -> str:
    """What a person reads first: the fault, why no more is tried, and what was, newest last; at most 500 characters.

    `summaries`: one for each attempt, such as `restart: web/front still fails`. Older ones give way first.
    `runbooks`: paths of those that are for this fault; the first is named.
    """
    opening = f"{_shortened(headline or 'a fault', 160)}. A person must look: {_shortened(reason, 120)}."
    if runbooks:
        opening += f" Runbook: {_shortened(runbooks[0], 100)}."
    if not summaries:
        return f"{opening} Nothing was tried."
    lines: list[str] = []
    room = _LONGEST - len(opening) - len(" Tried: … ; ")
    for summary in reversed(summaries):
        line = _shortened(summary, 100)
        if len(line) + 2 > room:
            lines.append("…")
            break
        room -= len(line) + 2
        lines.append(line)
    return f"{opening} Tried: {'; '.join(reversed(lines))}"


def _records(knowledge: Knowledge) -> dict[str, KnownRemedy]:
    """One record a remedy: that of this very signature, else that of the most similar one.

    Counts that are listed twice for one signature are added, so their order cannot matter.
    """
    records: dict[str, KnownRemedy] = {}
    for known in sorted(knowledge.remedies, key=lambda one: (bool(one.like), -one.similarity, one.like)):
        earlier = records.get(known.remedy)
        if earlier is None:
            records[known.remedy] = known
        elif earlier.like == known.like:
            counts = {
                "successes": earlier.successes + known.successes,
                "failures": earlier.failures + known.failures,
            }
            records[known.remedy] = earlier.model_copy(update=counts)
    return records


def _ruled_out(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """Remedy → the candidate whose cause makes it useless.

    A cause stands while the evidence shows it, whether its own remedy was tried or not. Of two causes that rule each
    other out, the registry's first stands.
    """
    ruled_out: dict[str, Candidate] = {}
    for cause in candidates:
        if not cause.explains or cause.remedy in ruled_out:
            continue
        for remedy in cause.rules_out:
            if remedy != cause.remedy:
                ruled_out.setdefault(remedy, cause)
    return ruled_out


def _passed_over(
    candidates: Sequence[Candidate], attempted: Set[str], ruled_out: dict[str, Candidate]
) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    for candidate in candidates:
        if candidate.remedy in attempted:
            result.append((candidate.remedy, "tried in this incident"))
        elif candidate.remedy in ruled_out:
            result.append((candidate.remedy, _shortened(f"cannot help: {ruled_out[candidate.remedy].cause}", 200)))
    return result


def _reason(best: _Ranked) -> str:
    cause = _shortened(best.candidate.cause, 300)
    if best.by_runbook:
        return f"runbook {best.candidate.runbook} asks for {best.candidate.remedy}; cause: {cause}"
    if best.known and best.similar:
        return f"{best.likeness}: {best.candidate.remedy} {best.history}; cause: {cause}"
    if best.known:
        return f"{best.candidate.remedy} {best.history}; cause: {cause}"
    if best.candidate.explains:
        return f"{best.candidate.remedy} fits the evidence: {cause}"
    if best.never_helped:
        like = f" ({best.likeness})" if best.similar else ""
        return f"{best.candidate.remedy} is all that is left, though it {best.history}{like}"
    return f"{best.candidate.remedy} costs least of what may help: {cause}"


def _why_later(best: _Ranked, other: _Ranked) -> str:
    if other.never_helped:
        return f"{other.likeness}: {other.history}" if other.similar else other.history
    if best.by_runbook:
        return "later in the runbook" if other.by_runbook else "no runbook asks for it"
    if best.known and not best.similar and other.known and other.similar:
        return f"{other.likeness}: {other.history}"
    if best.known and not other.known:
        return "not known to work"
    if best.known:
        return f"{other.history}, credible rate {other.rate:.2f} against {best.rate:.2f}"
    if best.candidate.explains and not other.candidate.explains:
        return "the evidence does not name its cause"
    if other.candidate.cost > best.candidate.cost:
        return "costs more if it is wrong"
    return "later in the registry"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
