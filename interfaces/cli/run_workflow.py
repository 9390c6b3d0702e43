"""`brainops run WORKFLOW`: start a workflow by hand and see its result."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.types import MethodAsyncSingleParam

from activities.monitoring import IncidentDesk
from brainops.checks.store import CheckStore
from brainops.contracts.check import CheckStatus, Observation
from brainops.contracts.keeping import (
    ConsolidationRequest,
    ConsolidationResult,
    MemoryRetentionRequest,
    MemoryRetentionResult,
)
from brainops.contracts.monitoring import RetentionRequest, RetentionResult, StartupResult
from brainops.contracts.names import (
    CONTROL_QUEUE,
    incident_workflow_id,
    monitoring_workflow_id,
)
from brainops.errors import BadInputError
from brainops.incidents.store import IncidentStore
from brainops.services.store import ServiceStore
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import console, print_json, say
from interfaces.cli.names import unknown
from interfaces.cli.workflow_errors import translated
from workers.starts import start_services, start_watch
from workflows.consolidation import ConsolidationWorkflow
from workflows.memory_retention import MemoryRetentionWorkflow
from workflows.retention import RetentionWorkflow

RESULT_SECONDS = 1800.0

Request = TypeVar("Request")
Result = TypeVar("Result")
"""A workflow that takes longer goes on without this command."""


class RunAnswer(BaseModel):
    """`brainops run --json`."""

    workflow: str
    workflow_id: str = ""
    """Empty: nothing was started."""
    message: str
    result: StartupResult | RetentionResult | ConsolidationResult | MemoryRetentionResult | None = None
    """Null for workflows that go on for ever or were not waited for."""


@dataclass(frozen=True)
class Runnable:
    """A workflow that a person may start."""

    usage: str
    what: str
    start: Callable[[Connections, list[str]], Awaitable[RunAnswer]]


def run(
    workflow: Annotated[
        str | None, typer.Argument(metavar="[WORKFLOW]", help="Name; without one, all are listed.")
    ] = None,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGUMENT]...", help="As listed.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """Start a workflow by hand."""
    if workflow is None:
        say("Workflows that can be started:", *(f"  {item.usage}\n      {item.what}" for item in WORKFLOWS.values()))
        return
    chosen = WORKFLOWS.get(workflow)
    if chosen is None:
        raise unknown("workflow", workflow, WORKFLOWS)
    complete(_run(chosen, arguments or [], json))


async def _run(chosen: Runnable, arguments: list[str], json: bool) -> None:
    async with connect() as stack:
        if json:
            answer = await chosen.start(stack, arguments)
        else:
            with console().status(f"{chosen.usage.split(maxsplit=1)[0]} …"):
                answer = await chosen.start(stack, arguments)
    if json:
        print_json(answer)
        return
    say(answer.message)
    if answer.workflow_id:
        say(f"Workflow: {answer.workflow_id}")


def _host(stack: Connections, arguments: list[str], usage: str) -> str:
    if len(arguments) > 1:
        raise BadInputError(f"too many arguments; write: brainops run {usage}")
    return arguments[0] if arguments else stack.host


async def _monitoring(stack: Connections, arguments: list[str]) -> RunAnswer:

    host = _host(stack, arguments, "monitoring [HOST]")
    workflow_id = monitoring_workflow_id(host)
    client = await stack.temporal()
    message = f"The watch over {host} has begun."
    async with translated(workflow_id):
        try:
            await start_watch(client, host, WorkflowIDConflictPolicy.FAIL)
        except WorkflowAlreadyStartedError:
            message = f"The watch over {host} runs already."
    return RunAnswer(workflow="monitoring", workflow_id=workflow_id, message=message)


async def _startup(stack: Connections, arguments: list[str]) -> RunAnswer:

    host = _host(stack, arguments, "startup [HOST]")
    client = await stack.temporal()
    async with translated("the start of services", RESULT_SECONDS):
        handle = await start_services(client, host)
        result = await handle.result()
    lines = [f"Started: {', '.join(result.started) or 'nothing; all that may be started has run before'}."]
    lines += [f"{service} cannot start: {why}" for service, why in result.failed.items()]
    return RunAnswer(workflow="startup", workflow_id=handle.id, message="\n".join(lines), result=result)


async def _round(
    stack: Connections,
    arguments: list[str],
    name: str,
    what: str,
    run: MethodAsyncSingleParam[Any, Request, Result],
    request: Request,
) -> tuple[str, Result]:
    """Run one round of what a schedule runs; its workflow id and result. `what`: the round, in the words of an error."""
    if arguments:
        raise BadInputError(f"{name} takes no arguments; write: brainops run {name}")
    client = await stack.temporal()
    async with translated(what, RESULT_SECONDS):
        handle = await client.start_workflow(
            run, request, id=f"{name}/by-hand/{datetime.now(UTC):%Y%m%dT%H%M%S.%f}", task_queue=CONTROL_QUEUE
        )
        return handle.id, await handle.result()


async def _retention(stack: Connections, arguments: list[str]) -> RunAnswer:
    name = "retention"
    workflow_id, result = await _round(stack, arguments, name, "the upkeep", RetentionWorkflow.run, RetentionRequest())
    message = (
        f"Wrote {result.minutes_written} minutes and {result.hours_written} hours of samples, removed "
        f"{result.rows_removed} rows, kept {result.histories_archived} histories."
    )
    return RunAnswer(workflow=name, workflow_id=workflow_id, message=message, result=result)


_RESTS = "ContextKeeper is paused or switched off; nothing was done."


async def _consolidation(stack: Connections, arguments: list[str]) -> RunAnswer:
    name = "consolidation"
    workflow_id, result = await _round(
        stack, arguments, name, "the consolidation", ConsolidationWorkflow.run, ConsolidationRequest()
    )
    message = (
        f"Read {result.sessions_read} sessions ({result.sessions_failed} failed), merged {result.merged} memories, "
        f"made {result.proposed} proposals, measured {result.measured}."
    )
    return RunAnswer(
        workflow=name, workflow_id=workflow_id, message=_RESTS if result.skipped else message, result=result
    )


async def _memory_retention(stack: Connections, arguments: list[str]) -> RunAnswer:
    name = "memory-retention"
    workflow_id, result = await _round(
        stack, arguments, name, "the upkeep of memory", MemoryRetentionWorkflow.run, MemoryRetentionRequest()
    )
    purged = ", ".join(f"{count} {kind}" for kind, count in result.purged.items()) or "nothing"
    message = (
        f"Archived {result.messages_archived} messages of {result.sessions_archived} sessions "
        f"({result.sessions_failed} failed), purged {purged}."
    )
    return RunAnswer(
        workflow=name, workflow_id=workflow_id, message=_RESTS if result.skipped else message, result=result
    )


async def _incident(stack: Connections, arguments: list[str]) -> RunAnswer:
    if not 1 <= len(arguments) <= 2:
        raise BadInputError("name a service and perhaps a check; write: brainops run incident SERVICE [CHECK]")
    service, check = arguments[0], arguments[1] if len(arguments) == 2 else None
    names = {row.name: row for row in await ServiceStore(stack.database).list()}
    if service not in names:
        raise unknown("service", service, names)
    states = {state.check: state for state in await CheckStore(stack.database).states(None) if state.service == service}
    if check is not None and check not in states:
        raise unknown(f"check of {service}", check, states)
    failing = [
        state
        for state in states.values()
        if state.status is CheckStatus.FAILING and (check is None or state.check == check)
    ]
    if not failing:
        what = f"{service}/{check}" if check else service
        return RunAnswer(workflow="incident", message=f"{what} is healthy: no check fails now, nothing was started.")
    opened = await IncidentStore(stack.database).list(limit=1, open_only=True, service=service)
    if opened:
        message = f"An incident of {service} is open already: brainops incidents {opened[0].plan_id}"
        return RunAnswer(workflow="incident", workflow_id=opened[0].workflow_id, message=message)
    state = failing[0]
    observation = Observation(
        host=names[service].host,
        service=service,
        check=state.check,
        seq=state.seq + 1,
        failing=True,
        reason=state.reason,
        detail=f"asked for by a person: {state.detail}"[:500],
        at=datetime.now(UTC),
    )
    client = await stack.temporal()

    await IncidentDesk(client).report(observation)
    return RunAnswer(
        workflow="incident",
        workflow_id=incident_workflow_id(service, state.check),
        message=f"Opened an incident for {service}/{state.check} ({state.reason.value}).",
    )


WORKFLOWS = {
    "monitoring": Runnable("monitoring [HOST]", "Make sure that the watch over a host runs.", _monitoring),
    "startup": Runnable("startup [HOST]", "Start the services that have never run and may be started.", _startup),
    "retention": Runnable("retention", "Thin old samples and keep the histories of finished incidents.", _retention),
    "consolidation": Runnable("consolidation", "Read sessions, merge memories, propose what repeats.", _consolidation),
    "memory-retention": Runnable(
        "memory-retention", "Archive quiet sessions and purge what is old.", _memory_retention
    ),
    "incident": Runnable("incident SERVICE [CHECK]", "Open an incident for a check that fails now.", _incident),
}
