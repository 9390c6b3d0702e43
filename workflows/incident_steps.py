"""How an incident's plan calls its activities: which queue, how long, and who owns the retries."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy

from activities.incident import IncidentActions, IncidentRecords
from brainops.contracts.action import ActionRequest, ActionResult
from brainops.contracts.incident import PlanRef, Verification, VerifyRequest
from brainops.contracts.names import host_queue

P = TypeVar("P")
R = TypeVar("R")

_SHORT = timedelta(seconds=5)
_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=2),
)
"""A lost worker or database is waited for, for ever: the activity says itself what must not be retried."""
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
            method, argument, start_to_close_timeout=_SHORT, retry_policy=_RETRY, summary=summary[:200]
        )

    async def read(self, method: Callable[[IncidentRecords, P], Awaitable[R]], argument: P, summary: str) -> R:
        """A read that changes nothing: a local activity, whose answer is all that history needs."""
        return await workflow.execute_local_activity_method(
            method, argument, start_to_close_timeout=_SHORT, retry_policy=_RETRY, summary=summary[:200]
        )

    async def on_host(self, method: Callable[[IncidentActions, P], Awaitable[R]], argument: P, summary: str) -> R:
        """A short look on the host that has the service."""
        return await workflow.execute_activity_method(
            method,
            argument,
            task_queue=host_queue(self._plan.host),
            start_to_close_timeout=_SHORT,
            retry_policy=_RETRY,
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
            retry_policy=_RETRY,
            summary=summary[:200],
        )

    async def verify(self, dependents: tuple[str, ...]) -> Verification:
        """Whether what was done helped."""
        return await workflow.execute_activity_method(
            IncidentActions.verify_remedy,
            VerifyRequest(plan=self._plan, dependents=dependents),
            task_queue=host_queue(self._plan.host),
            start_to_close_timeout=_LONGEST_VERIFICATION,
            heartbeat_timeout=_HEARTBEAT,
            retry_policy=_RETRY,
            summary="verify by the same check and its neighbours",
        )
