"""Which incident is the root: a failing dependency absorbs its dependents, in whichever order they were seen.

The decision is pure; the store makes it inside one transaction under a lock, so that of several incidents which ask at
once each sees what the others were told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

WAIT_SECONDS = 0.25
"""How long to wait for the incident of a dependency that fails and has none yet."""

Dependencies = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class OpenIncident:
    """An incident that is neither closed nor part of another one."""

    plan_id: UUID
    workflow_id: str
    service: str
    opened_at: datetime
    is_root: bool
    """Decided to be a root already."""
    dependents: frozenset[str] = frozenset()
    """Services that are known to fail because of it."""

    @property
    def age(self) -> tuple[datetime, UUID]:
        """Sorts older incidents first, and is never equal for two."""
        return self.opened_at, self.plan_id


@dataclass(frozen=True)
class Scene:
    """What fails, and what is open, at the moment of the decision."""

    others: tuple[OpenIncident, ...]
    failing: frozenset[str]
    """Services with a failing check."""


@dataclass(frozen=True)
class Decision:
    """Exactly one of: `into` (part of that one), `wait`, or root of `absorbed`."""

    into: OpenIncident | None = None
    wait: bool = False
    absorbed: tuple[OpenIncident, ...] = ()
    dependents: tuple[str, ...] = field(default=())


def decide(me: OpenIncident, scene: Scene, dependencies: Dependencies, *, last_try: bool) -> Decision:
    """The place of `me` among what fails. `last_try`: the hold is over, do not wait for anybody any more."""
    same_service = [other for other in scene.others if other.service == me.service]
    elders = [other for other in same_service if other.is_root or other.age < me.age]
    if elders:
        return Decision(into=min(elders, key=lambda other: (not other.is_root, other.age)))

    below = transitive(me.service, dependencies)
    candidates = [other for other in scene.others if other.service in below]
    if candidates:
        return Decision(into=_deepest(candidates, dependencies))
    if below & scene.failing and not last_try:
        return Decision(wait=True)

    above = {service for service in dependencies if me.service in transitive(service, dependencies)}
    absorbed = tuple(other for other in scene.others if other.service in above or other in same_service)
    dependents = (above & scene.failing).union(
        me.dependents, *(other.dependents | {other.service} for other in absorbed)
    )
    return Decision(absorbed=absorbed, dependents=tuple(sorted(dependents - {me.service})))


def transitive(service: str, dependencies: Dependencies) -> frozenset[str]:
    """Everything that `service` depends on, directly or not; never itself, also in a circle."""
    found: set[str] = set()
    waiting = list(dependencies.get(service, ()))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(dependencies.get(name, ()))
    return frozenset(found - {service})


def _deepest(candidates: Iterable[OpenIncident], dependencies: Dependencies) -> OpenIncident:
    """The one that depends on the fewest others of them; the oldest of several."""
    candidates = list(candidates)
    failing = {candidate.service for candidate in candidates}
    return min(
        candidates,
        key=lambda one: (len(transitive(one.service, dependencies) & failing), not one.is_root, one.age),
    )
