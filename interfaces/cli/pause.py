"""`brainops pause` and `resume`: let a service or an agent be, and take it up again."""

from typing import Annotated

import typer

from brainops.contracts.agent import AgentName, PauseRequest
from brainops.contracts.names import agent_workflow_id
from brainops.crew.store import CrewStore
from brainops.errors import BadInputError, UnavailableError
from brainops.incidents.store import IncidentStore
from brainops.services.store import ServiceStore
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import say
from interfaces.cli.names import unknown
from interfaces.cli.workflow_errors import translated
from workflows.agent import AgentWorkflow
from workflows.incident import IncidentWorkflow

MOST_OPEN = 1000

Name = Annotated[str, typer.Argument(metavar="SERVICE|AGENT", help="Name of a service or of an agent.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Shown wherever the pause is.")]


def pause(name: Name, reason: Reason = "") -> None:
    """Watch it, but do nothing about it until `brainops resume`."""
    complete(_set(name, paused=True, reason=reason))


def resume(name: Name) -> None:
    """Act again; open incidents are looked at anew."""
    complete(_set(name, paused=False, reason=""))


async def _set(name: str, *, paused: bool, reason: str) -> None:
    if len(reason) > 500:
        raise BadInputError(f"the reason has {len(reason)} characters; give at most 500")
    async with connect() as stack:
        services = {row.name: row for row in await ServiceStore(stack.database).list()}
        agents = {state.name: state for state in await CrewStore(stack.database).all()}
        known = services.get(name) or agents.get(name)
        if known is None and name not in set(AgentName):
            raise unknown("service or agent", name, {*services, *agents, *AgentName})
        if known is not None and known.paused == paused:
            why = f" ({known.paused_reason})" if known.paused_reason else ""
            say(f"{name} is paused already{why}." if paused else f"{name} is not paused.")
            return
        if name in services:
            await ServiceStore(stack.database).set_paused(name, paused, reason)
            told = await tell_incidents(stack, name, {name})
        else:
            await _set_agent(stack, name, PauseRequest(paused=paused, reason=reason))
            affected = set(services) if name == AgentName.SYSTEM_MONITOR else set[str]()
            told = await tell_incidents(stack, name, affected)
    doing = "is paused: it is watched, and nothing is done about it" if paused else "is taken up again"
    tail = f"; {told} open incident{'s' if told != 1 else ''} looked at anew" if told else ""
    say(f"{name} {doing}{tail}.")


async def _set_agent(stack: Connections, name: str, request: PauseRequest) -> None:
    client = await stack.temporal()
    async with translated(f"the agent {name}"):
        # One of the SDK's overloads is partly untyped.
        await client.get_workflow_handle(agent_workflow_id(name)).execute_update(  # pyright: ignore[reportUnknownMemberType]
            AgentWorkflow.pause, request
        )


async def tell_incidents(stack: Connections, name: str, services: set[str]) -> int:
    """Have the open incidents of `services` look again at what they may do; how many there are."""
    found = await IncidentStore(stack.database).list(limit=MOST_OPEN, open_only=True)
    workflow_ids = [row.workflow_id for row in found if row.service in services]
    if not workflow_ids:
        return 0
    try:
        client = await stack.temporal()
    except UnavailableError as error:
        raise UnavailableError(
            f"{name} is changed, but its open incidents could not be told: {error}. "
            "They look again when the stack is up and the check changes"
        ) from error
    for workflow_id in workflow_ids:
        async with translated(workflow_id):
            await client.get_workflow_handle(workflow_id).signal(IncidentWorkflow.reconsider)
    return len(workflow_ids)
