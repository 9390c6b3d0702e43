"""Every deed is recorded, and every action knows who caused it, without any author remembering either.

The actor travels in a header from the client's call through the workflow into its activities. The recording
interceptor writes each activity that is marked as a deed to `work_history`, with its redacted input and output.
"""

import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import temporalio.client
import temporalio.worker
import temporalio.workflow
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.converter import DefaultPayloadConverter
from temporalio.exceptions import ApplicationError

from activities.recording import Deed, deed_of
from brainops.contracts.agent import AgentName, AgentState
from brainops.contracts.base import Actor, ActorKind
from brainops.contracts.names import ACTOR_HEADER
from brainops.contracts.recording import WorkRecord
from brainops.errors import BrainOpsError
from brainops.memory.deeds import DeedStore
from brainops.telemetry.redaction import clean, redact_value

_PAYLOADS = DefaultPayloadConverter()
_actor_payload: ContextVar[Payload | None] = ContextVar("brainops_actor_payload", default=None)


class BrainOpsInterceptor(temporalio.client.Interceptor, temporalio.worker.Interceptor):
    """Carries the actor, records deeds, and tells Temporal which of our errors may be retried.

    `actor` is who makes this client's calls. Without `deeds` (a client, a replayer) nothing is recorded.
    """

    def __init__(self, actor: Actor, deeds: DeedStore | None = None) -> None:
        self._actor = actor
        self._deeds = deeds

    def intercept_client(
        self,
        next: temporalio.client.OutboundInterceptor,
    ) -> temporalio.client.OutboundInterceptor:
        """Name the actor in each call that starts or changes a plan."""
        return _ClientOutbound(next, self._actor)

    def intercept_activity(
        self,
        next: temporalio.worker.ActivityInboundInterceptor,
    ) -> temporalio.worker.ActivityInboundInterceptor:
        """Record deeds and translate errors."""
        return _ActivityInbound(next, self._deeds)

    def workflow_interceptor_class(
        self,
        input: temporalio.worker.WorkflowInterceptorClassInput,  # noqa: ARG002
    ) -> type[temporalio.worker.WorkflowInboundInterceptor] | None:
        """Pass the actor on from a workflow to its activities."""
        return _WorkflowInbound


class _ClientOutbound(temporalio.client.OutboundInterceptor):
    def __init__(self, next: temporalio.client.OutboundInterceptor, actor: Actor) -> None:
        super().__init__(next)
        self._payload = _PAYLOADS.to_payloads([str(actor)])[0]

    async def start_workflow(
        self,
        input: temporalio.client.StartWorkflowInput,
    ) -> temporalio.client.WorkflowHandle[Any, Any]:
        input.headers = {**input.headers, ACTOR_HEADER: self._payload}
        return await super().start_workflow(input)

    async def signal_workflow(self, input: temporalio.client.SignalWorkflowInput) -> None:
        input.headers = {**input.headers, ACTOR_HEADER: self._payload}
        await super().signal_workflow(input)

    async def start_workflow_update(
        self,
        input: temporalio.client.StartWorkflowUpdateInput,
    ) -> temporalio.client.WorkflowUpdateHandle[Any]:
        input.headers = {**input.headers, ACTOR_HEADER: self._payload}
        return await super().start_workflow_update(input)


class _WorkflowInbound(temporalio.worker.WorkflowInboundInterceptor):
    def init(self, outbound: temporalio.worker.WorkflowOutboundInterceptor) -> None:
        super().init(_WorkflowOutbound(outbound))

    async def execute_workflow(self, input: temporalio.worker.ExecuteWorkflowInput) -> Any:
        _actor_payload.set(input.headers.get(ACTOR_HEADER))
        return await super().execute_workflow(input)

    async def handle_signal(self, input: temporalio.worker.HandleSignalInput) -> None:
        _actor_payload.set(input.headers.get(ACTOR_HEADER))
        await super().handle_signal(input)

    async def handle_update_handler(self, input: temporalio.worker.HandleUpdateInput) -> Any:
        _actor_payload.set(input.headers.get(ACTOR_HEADER))
        return await super().handle_update_handler(input)


class _WorkflowOutbound(temporalio.worker.WorkflowOutboundInterceptor):
    def start_activity(
        self,
        input: temporalio.worker.StartActivityInput,
    ) -> temporalio.workflow.ActivityHandle[Any]:
        payload = _actor_payload.get()
        if payload is not None:
            input.headers = {**input.headers, ACTOR_HEADER: payload}
        return super().start_activity(input)

    def continue_as_new(self, input: temporalio.worker.ContinueAsNewInput) -> Any:
        payload = _actor_payload.get()
        if payload is not None:
            input.headers = {**input.headers, ACTOR_HEADER: payload}
        return super().continue_as_new(input)


class _ActivityInbound(temporalio.worker.ActivityInboundInterceptor):
    def __init__(
        self,
        next: temporalio.worker.ActivityInboundInterceptor,
        deeds: DeedStore | None,
    ) -> None:
        super().__init__(next)
        self._deeds = deeds

    async def execute_activity(self, input: temporalio.worker.ExecuteActivityInput) -> Any:
        deed = deed_of(input.fn)
        started_at = datetime.now(UTC)
        started = time.monotonic()
        try:
            output = await super().execute_activity(input)
        except BrainOpsError as error:
            if deed is not None:
                await self._record(deed, input, started_at, started, error=error)
            raise ApplicationError(
                clean(str(error)), type=type(error).__name__, non_retryable=not error.retryable
            ) from error
        if deed is not None:
            await self._record(deed, input, started_at, started, output=output)
        return output

    async def _record(
        self,
        deed: Deed,
        input: temporalio.worker.ExecuteActivityInput,
        started_at: datetime,
        started: float,
        output: object = None,
        error: BrainOpsError | None = None,
    ) -> None:
        if self._deeds is None:
            return
        info = activity.info()
        argument = input.args[0] if input.args else None
        agent = deed.agent.value if deed.agent is not None else _agent_named_in(argument)
        record = WorkRecord(
            key=f"{info.workflow_run_id}/{info.activity_id}/{info.attempt}",
            task_id=info.activity_id,
            agent=agent,
            actor=_actor(input.headers.get(ACTOR_HEADER), agent),
            action=deed.action,
            service=_service_named_in(argument) or _service_named_in(output),
            input=_plain(argument),
            output=_plain(output),
            success=error is None,
            error_message=clean(str(error)) if error is not None else "",
            duration_ms=(time.monotonic() - started) * 1000,
            workflow_id=info.workflow_id or "",
            run_id=info.workflow_run_id or "",
            started_at=started_at,
        )
        try:
            await self._deeds.record_work(record)
        except BrainOpsError as failure:
            if error is None:
                # The effect is in the ledger: the retry finds it there and only the record is written again.
                raise ApplicationError(str(failure), type=type(failure).__name__) from failure
            activity.logger.warning("a failed %s could not be recorded: %s", deed.action, failure)


def _actor(payload: Payload | None, agent: str) -> Actor:
    if payload is None:
        return Actor(kind=ActorKind.AGENT, name=agent)
    text: str = _PAYLOADS.from_payloads([payload], [str])[0]
    return Actor.parse(text)


def _agent_named_in(argument: object) -> str:
    return argument.name if isinstance(argument, AgentState) else AgentName.SYSTEM_MONITOR.value


def _service_named_in(argument: object) -> str:
    for holder in (argument, getattr(argument, "plan", None), getattr(getattr(argument, "record", None), "plan", None)):
        name = getattr(holder, "service", None)
        if isinstance(name, str):
            return name
    return ""


def _plain(value: object) -> Any:
    """The redacted JSON form of a contract."""
    if isinstance(value, BaseModel):
        return redact_value(value.model_dump(mode="json"))
    return redact_value(value) if isinstance(value, str | int | float | bool) else None
