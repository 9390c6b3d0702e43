"""One fault from its injection to its end, seen by the prober, and beside it what BrainOps says it did.

When the service was down and up again comes from the prober alone. From BrainOps come the moment of detection
(the opening of the incident), the cause it found, the remedy it chose and whether that was verified.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from brainops.checks.store import CheckStore
from brainops.contracts.check import CheckStatus
from brainops.contracts.incident import IncidentResult, IncidentStatus
from brainops.database.engine import Database
from brainops.incidents.rows import IncidentDetail, IncidentRow
from brainops.incidents.store import IncidentStore
from brainops.services.known_good_store import KnownGoodStore
from interfaces.demo.faults import Fault, Injection
from interfaces.demo.layout import Role, Shop
from interfaces.demo.prober import Prober, ProbeTarget, ask

POLL_SECONDS = 0.03

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What became of one fault. Times are seconds after the injection; None: it did not happen."""

    kind: str
    service: str
    occurrence: int
    detected: float | None = None
    healed: float | None = None
    cause: str = ""
    remedy: str = ""
    verified: bool = False
    model_calls: int = 0
    workflow_id: str = ""
    plan_id: str = ""
    tried: tuple[str, ...] = ()
    """Remedies that were tried, in order; the last one helped."""
    absorbed: tuple[str, ...] = ()
    """Services whose own incidents became part of this one."""
    recorded: bool = False
    """Its workflow has completed, and its effects stand in the ledger with what became of them."""
    problem: str = ""
    """What is known when it does not count as healed."""

    @property
    def good(self) -> bool:
        """Healed as the prober saw it, and verified by BrainOps."""
        return self.healed is not None and self.verified


class Experiment:
    """Breaks the services of one shop and watches them heal.

    `patience_seconds`: how long a fault may last before it counts as not healed.
    """

    def __init__(self, database: Database, client: Client, shop: Shop, patience_seconds: float = 30.0) -> None:
        self._client = client
        self._shop = shop
        self._patience = patience_seconds
        self._incidents = IncidentStore(database)
        self._checks = CheckStore(database)
        self._known_good = KnownGoodStore(database)
        self._services = {shop.service(role) for role in shop.roles}

    async def until_whole(self, timeout_seconds: float) -> str:
        """Wait until the shop is whole: it answers, every check passes, no incident is open, its files are kept.

        Returns what is missing when the time is over; nothing once it is whole.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            missing = await self._missing()
            if not missing or time.monotonic() > deadline:
                return missing
            await asyncio.sleep(POLL_SECONDS)

    async def _missing(self) -> str:
        for role, port in self._shop.ports.items():
            answer = await asyncio.to_thread(ask, ProbeTarget(port=port))
            if not answer.good:
                return f"{self._shop.service(role)}: {answer.why}"
        states = [state for state in await self._checks.states(None) if state.service in self._services]
        if unseen := self._services - {state.service for state in states}:
            return f"nothing is known of {', '.join(sorted(unseen))}"
        for state in states:
            if state.status is not CheckStatus.PASSING:
                return f"{state.service}/{state.check} is {state.status.value}: {state.detail}"
        for row in await self._incidents.list(1000, open_only=True):
            if row.service in self._services:
                return f"incident {row.plan_id} of {row.service} is {row.status.value}"
        unkept = [self._shop.service(role) for role in self._shop.roles if not await self._config_kept(role)]
        return f"no good configuration is kept of {', '.join(unkept)}" if unkept else ""

    async def _config_kept(self, role: Role) -> bool:
        path = str(self._shop.config_file(role))
        return await self._known_good.newest(self._shop.service(role), path) is not None

    async def run(self, fault: Fault, occurrence: int, detected: Callable[[float], None] | None = None) -> Outcome:
        """Break the shop by `fault` and wait for its end. `detected`: called with the delay when an incident opens."""
        service = self._shop.service(fault.role)
        with Prober(fault.target(self._shop), fault.probe_interval_seconds) as prober:
            if await prober.good_after(0, self._patience) is None:
                down = prober.verdicts[-1].why
                return Outcome(fault.kind, service, occurrence, problem=f"it was down before: {down}")
            injection = await fault.inject(self._shop)
            healed, row = await asyncio.gather(
                self._outage(prober, injection), self._incident(service, injection, detected)
            )
        if row is None:
            problem = "no incident was opened" if healed is None else "it healed without an incident"
            return Outcome(fault.kind, service, occurrence, healed=healed, problem=problem)
        detail = await self._incidents.get(str(row.plan_id))
        verified = row.status is IncidentStatus.RESOLVED
        result = await self._result(row) if row.status.closed else None
        in_ledger = bool(detail.effects) and all(effect.state != "begun" for effect in detail.effects)
        return Outcome(
            kind=fault.kind,
            service=service,
            occurrence=occurrence,
            detected=_delay(row, injection),
            healed=healed,
            cause=row.cause,
            remedy=row.remedy,
            verified=verified,
            model_calls=result.model_calls if result is not None else 0,
            workflow_id=row.workflow_id,
            plan_id=str(row.plan_id),
            tried=tuple(attempt.remedy for attempt in detail.attempts),
            absorbed=tuple(sorted({part.service for part in detail.absorbed} - {service})),
            recorded=result is not None and in_ledger,
            problem=_problem(healed, detail),
        )

    async def _outage(self, prober: Prober, injection: Injection) -> float | None:
        """Seconds from the injection to the first good answer after a bad one; None when either did not come."""
        bad = await prober.bad_after(injection.monotonic, self._patience)
        good = None if bad is None else await prober.good_after(bad, self._patience)
        return None if good is None else good - injection.monotonic

    async def _incident(
        self, service: str, injection: Injection, detected: Callable[[float], None] | None
    ) -> IncidentRow | None:
        """The incident of the fault once it is closed, or as it stands when patience ends; None: there is none."""

        async def opened() -> IncidentRow | None:
            rows = await self._incidents.list(20, service=service)
            return next((row for row in reversed(rows) if _is_about(row, injection)), None)

        deadline = time.monotonic() + self._patience
        found = await _until(opened, self._patience)
        if found is None:
            return None
        if detected is not None:
            detected(_delay(found, injection))

        async def closed() -> IncidentRow | None:
            row = await opened()
            return row if row is not None and row.status.closed else None

        return await _until(closed, deadline - time.monotonic()) or await opened()

    async def _result(self, row: IncidentRow) -> IncidentResult | None:
        """How the incident's workflow completed; None when it has not."""
        handle = self._client.get_workflow_handle(row.workflow_id, run_id=row.run_id, result_type=IncidentResult)
        try:
            result = await asyncio.wait_for(handle.result(follow_runs=False), self._patience)
        except (TimeoutError, RPCError, WorkflowFailureError):
            return None
        description = await handle.describe()
        return result if description.status is WorkflowExecutionStatus.COMPLETED else None


async def _until(look: Callable[[], Awaitable[T | None]], timeout_seconds: float) -> T | None:
    """Ask until there is an answer; None when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = await look()
        if found is not None or time.monotonic() > deadline:
            return found
        await asyncio.sleep(POLL_SECONDS)


def _is_about(row: IncidentRow, injection: Injection) -> bool:
    return row.opened_at >= injection.wall and row.status not in (IncidentStatus.ABSORBED, IncidentStatus.DISMISSED)


def _delay(row: IncidentRow, injection: Injection) -> float:
    return (row.opened_at - injection.wall).total_seconds()


def _problem(healed: float | None, detail: IncidentDetail) -> str:
    status = detail.row.status
    if healed is not None and status is IncidentStatus.RESOLVED:
        return ""
    seen = "the prober saw it healed" if healed is not None else "the prober never saw it healed"
    note = detail.timeline[-1].note if detail.timeline else ""
    return f"{seen}; the incident is {status.value}: {note}"
