"""Grouping in the watch: of a thousand alerts with one root, one becomes an incident and the others are part of it.

The decision is pure and made of what this watch itself believes, so that it costs nothing on the way of healing. A
service without dependencies, and the first few that fail while everything below them passes, are never held.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from uuid import UUID

from brainops.config.models import Service
from brainops.contracts.check import CheckState, CheckStatus
from brainops.incidents.roots import transitive

BURST = 3
"""When so many services above a common dependency fail, more of them wait to see whether it fails, too."""

_SPARE = timedelta(seconds=2)
_LONGEST_WAIT = timedelta(minutes=1)
_LONGEST_GRACE = timedelta(minutes=5)

Key = tuple[str, str]
"""Service and check."""


class Verdict(Enum):
    """What becomes of a failing check."""

    OPEN = "open"
    """It gets an incident of its own."""
    JOIN = "join"
    """Another check of its service, or a service that it depends on, fails: it is part of that incident."""
    WAIT = "wait"
    """Many that depend on the same service fail: its own next probes decide."""


@dataclass(frozen=True)
class OpenRoot:
    """An open incident that failing checks may be part of."""

    plan_id: UUID
    service: str
    check: str
    is_root: bool


class Grouping:
    """What fails, and what of it belongs together. `services`: those of the watch."""

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        dependencies = {name: service.depends_on for name, service in services.items()}
        self._below = {name: transitive(name, dependencies) for name in services}
        self._failing: dict[str, set[str]] = {}
        self._failing_above: dict[str, int] = {}

    def note(self, state: CheckState) -> None:
        """Take in what is believed of a check now."""
        checks = self._failing.get(state.service, set())
        failed = bool(checks)
        if state.status is CheckStatus.FAILING:
            checks.add(state.check)
        else:
            checks.discard(state.check)
        if checks:
            self._failing[state.service] = checks
        else:
            self._failing.pop(state.service, None)
        if bool(checks) != failed:
            for name in self._below.get(state.service, ()):
                self._failing_above[name] = self._failing_above.get(name, 0) + (1 if checks else -1)

    def verdict(self, service: str, check: str) -> Verdict:
        """What becomes of a check that fails."""
        if self._failing.get(service, set()) - {check}:
            return Verdict.JOIN
        below = self._below.get(service, frozenset[str]())
        if any(name in self._failing for name in below):
            return Verdict.JOIN
        if any(self._failing_above.get(name, 0) > BURST for name in below):
            return Verdict.WAIT
        return Verdict.OPEN

    def patience(self, service: str, check: str) -> timedelta:
        """How long a check that was held may go on failing without an incident."""
        declared = self._services.get(service)
        mine = declared.all_checks().get(check) if declared is not None else None
        if mine is None:
            return _SPARE
        if self.verdict(service, check) is not Verdict.WAIT:
            return min(2 * mine.interval * mine.pass_after + mine.timeout + _SPARE, _LONGEST_GRACE)
        below = [
            one.interval * one.fail_after + one.timeout
            for name in self._below[service]
            if name in self._services
            for one in self._services[name].all_checks().values()
        ]
        return min(max(below, default=timedelta()) + _SPARE, _LONGEST_WAIT)

    def place(self, keys: Iterable[Key], roots: Iterable[OpenRoot]) -> dict[Key, UUID]:
        """For each of `keys` the open incident that it is part of; those without one are left out."""
        by_service: dict[str, OpenRoot] = {}
        for root in roots:
            known = by_service.get(root.service)
            if known is None or (root.is_root and not known.is_root):
                by_service[root.service] = root
        placed: dict[Key, UUID] = {}
        for service, check in keys:
            found = by_service.get(service) or self._deepest(service, by_service)
            if found is not None and (found.service, found.check) != (service, check):
                placed[service, check] = found.plan_id
        return placed

    def _deepest(self, service: str, roots: Mapping[str, OpenRoot]) -> OpenRoot | None:
        """Of the incidents below a service, that of the one which depends on the fewest of the others."""
        below = [name for name in self._below.get(service, ()) if name in roots]
        if not below:
            return None
        return roots[min(below, key=lambda name: (len(self._below.get(name, frozenset()) & set(below)), name))]
