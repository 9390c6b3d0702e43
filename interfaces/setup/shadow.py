"""What BrainOps would have done while it only looked on, and what became of it without."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median

from pydantic import BaseModel

from brainops.contracts.agent import ActionClass, Autonomy
from brainops.contracts.incident import IncidentStatus
from brainops.incidents.rows import IncidentRow
from brainops.remedies.registry import remedies

MOST_INCIDENTS = 1000

_CHEAP = 1
"""Cost of being wrong up to which acting alone is recommended: a restart, and nothing that is lost."""

_ENOUGH = 2
"""Incidents of one remedy from which a recommendation to act can be made."""


class RemedyShadow(BaseModel):
    """One remedy, over the incidents in which it was chosen."""

    remedy: str
    action_class: ActionClass
    cost: int
    incidents: int
    needless: int
    """Of these, the check passed again by itself within the time that a remedy has to help."""
    rejected: int
    """Of these, closed by a person as nothing, or forbidden by one."""
    helped: int
    """Of these, BrainOps did it, and the checks passed."""
    given_up: int
    """Of these, handed to a person all the same: it did not help, or nobody answered."""
    lasted_seconds: float
    """Median, of those that have ended and were not needless."""
    recommended: Autonomy
    reason: str

    @property
    def right(self) -> int:
        """Incidents for which it would have been the right thing, or was."""
        return self.incidents - self.needless - self.rejected - self.given_up


class Shadow(BaseModel):
    """Everything that was seen of a service."""

    service: str
    since: datetime | None
    """Of the oldest incident that was looked at; None where there was none."""
    incidents: int
    unexplained: int
    """Incidents for which no remedy was found."""
    remedies: tuple[RemedyShadow, ...]
    recommended: Autonomy
    """For the service as a whole."""
    reason: str


def judge(service: str, rows: Sequence[IncidentRow], recover_within: timedelta) -> Shadow:
    """What the incidents of a service say about how freely it may be healed. Pure.

    `recover_within`: a check that passes again by itself within this would have made the remedy needless.
    """
    own = [row for row in rows if row.status is not IncidentStatus.ABSORBED]
    by_remedy: dict[str, list[IncidentRow]] = defaultdict(list)
    for row in own:
        if row.remedy:
            by_remedy[row.remedy].append(row)
    known = {remedy.name: remedy for remedy in remedies()}
    judged: list[RemedyShadow] = []
    for name, incidents in by_remedy.items():
        remedy = known.get(name.partition(":")[0])
        if remedy is not None:
            judged.append(_judged(name, remedy.action_class, remedy.cost, incidents, recover_within))
    judged.sort(key=lambda one: (-one.incidents, one.remedy))
    level, reason = _overall(len(own), judged)
    return Shadow(
        service=service,
        since=min((row.opened_at for row in own), default=None),
        incidents=len(own),
        unexplained=sum(not row.remedy for row in own),
        remedies=tuple(judged),
        recommended=level,
        reason=reason,
    )


def recommended_levels(shadow: Shadow) -> Mapping[ActionClass, Autonomy]:
    """The recommendation for each action class that was seen; the lower one where two remedies share a class."""
    levels: dict[ActionClass, Autonomy] = {}
    for one in shadow.remedies:
        present = levels.get(one.action_class, one.recommended)
        levels[one.action_class] = min(present, one.recommended, key=lambda level: level.rank)
    return levels


def _judged(
    name: str, action_class: ActionClass, cost: int, incidents: Sequence[IncidentRow], recover_within: timedelta
) -> RemedyShadow:
    helped = [row for row in incidents if row.status is IncidentStatus.RESOLVED]
    given_up = [row for row in incidents if row.status is IncidentStatus.ESCALATED]
    rejected = [row for row in incidents if row.status is IncidentStatus.DISMISSED]
    ended = [row for row in incidents if row.status is IncidentStatus.RECOVERED and row.closed_at is not None]
    lasted = [(row.closed_at - row.opened_at) for row in ended if row.closed_at is not None]
    needless = [one for one in lasted if one <= recover_within]
    others = [one.total_seconds() for one in lasted if one > recover_within]
    counts = RemedyShadow(
        remedy=name,
        action_class=action_class,
        cost=cost,
        incidents=len(incidents),
        needless=len(needless),
        rejected=len(rejected),
        helped=len(helped),
        given_up=len(given_up),
        lasted_seconds=median(others) if others else 0.0,
        recommended=Autonomy.APPROVE,
        reason="",
    )
    level, reason = _recommendation(counts)
    return counts.model_copy(update={"recommended": level, "reason": reason})


def _recommendation(seen: RemedyShadow) -> tuple[Autonomy, str]:
    share = f"right {seen.right} of {seen.incidents} times"
    if seen.rejected:
        return Autonomy.SUGGEST, f"a person closed {seen.rejected} of {seen.incidents} as nothing"
    if seen.cost > _CHEAP:
        return Autonomy.APPROVE, f"{share}; it costs more than a restart when it is wrong"
    if seen.incidents < _ENOUGH:
        return Autonomy.APPROVE, f"{share}; once is too few to leave it alone"
    if seen.right * 3 < seen.incidents * 2:
        return Autonomy.APPROVE, f"{share}; {seen.needless} times it came back by itself first"
    return Autonomy.ACT, share


def _overall(incidents: int, judged: Sequence[RemedyShadow]) -> tuple[Autonomy, str]:
    if not incidents:
        return Autonomy.APPROVE, "nothing has failed yet, so nothing speaks for or against; it asks before it acts"
    if not judged:
        return Autonomy.SUGGEST, "no remedy was found for what failed; reading what it would do costs nothing"
    lowest = min(judged, key=lambda one: one.recommended.rank)
    return lowest.recommended, f"{lowest.remedy}: {lowest.reason}"
