"""How an incident's plan calls its activities: which queue, how long, and who owns the retries."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from temporalio import workflow

from activities.incident import IncidentActions, IncidentRecords
from activities.maintenance import MaintenanceRecords
from brainops.contracts.action import ActionRequest, ActionResult
from brainops.contracts.base import Actor
from brainops.contracts.incident import PlanRef, Verification, VerifyRequest
from brainops.contracts.maintenance import OpenMaintenance
from brainops.contracts.names import host_queue
from workflows.retries import WAITING

P = TypeVar("P")
R = TypeVar("R")

_SHORT = timedelta(seconds=5)
_HEARTBEAT = timedelta(seconds=3)
_LONGEST_ACTION = timedelta(hours=2)
_LONGEST_VERIFICATION = timedelta(minutes=20)


class IncidentSteps:
    """The steps of one plan, each to be seen in the Temporal UI by its summary."""

    def __init__(self, plan: PlanRef) -> None:
        self._plan = plan

    async def record(self, method: Callable[[IncidentRecords, P], Awaitable[R]], argument: P, summary: str) -> R:
        """One of the incident's rows: any control worker, a transaction or two."""
        return await workflow.execute_activity_method(
            method, argument, start_to_close_timeout=_SHORT, retry_policy=WAITING, summary=summary[:200]
        )

    async def read(self, method: Callable[[IncidentRecords, P], Awaitable[R]], argument: P, summary: str) -> R:
        """A read that changes nothing: a local activity, whose answer is all that history needs."""
        return await workflow.execute_local_activity_method(
            method, argument, start_to_close_timeout=_SHORT, retry_policy=WAITING, summary=summary[:200]
        )

    async def on_host(self, method: Callable[[IncidentActions, P], Awaitable[R]], argument: P, summary: str) -> R:
        """A short look on the host that has the service."""
        return await workflow.execute_activity_method(
            method,
            argument,
            task_queue=host_queue(self._plan.host),
            start_to_close_timeout=_SHORT,
            retry_policy=WAITING,
            summary=summary[:200],
        )

    async def perform(self, request: ActionRequest, summary: str) -> ActionResult:
        """One action on the host, through the ledger."""
        return await workflow.execute_activity_method(
            IncidentActions.perform_action,
            request,
            task_queue=host_queue(self._plan.host),
            start_to_close_timeout=_LONGEST_ACTION,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=WAITING,
            summary=summary[:200],
        )

    async def let_be(self, service: str, seconds: float, reason: str, window_id: UUID, actor: Actor) -> None:
        """Open a maintenance window for a service that this plan is about to stop, so that nobody starts it again."""
        request = OpenMaintenance(
            tenant_id=self._plan.tenant_id,
            id=window_id,
            services=(service,),
            seconds=seconds,
            reason=reason[:500],
            actor=actor,
            plan_id=self._plan.plan_id,
        )
        await workflow.execute_activity_method(
            MaintenanceRecords.open_maintenance,
            request,
            start_to_close_timeout=_SHORT,
            retry_policy=WAITING,
            summary=f"let {service} be",
        )

    async def verify(self, dependents: tuple[str, ...]) -> Verification:
        """Whether what was done helped."""
        return await workflow.execute_activity_method(
            IncidentActions.verify_remedy,
            VerifyRequest(plan=self._plan, dependents=dependents),
            task_queue=host_queue(self._plan.host),
            start_to_close_timeout=_LONGEST_VERIFICATION,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=WAITING,
            summary="verify by the same check and its neighbours",
        )
