"""`brainops agents`: who they are and what they are doing."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from brainops.contracts.agent import AgentState
from brainops.contracts.names import agent_workflow_id
from brainops.crew.store import CrewStore
from interfaces.cli.context import complete, connect
from interfaces.cli.display import facts, plain, print_json, say, state, table, when
from interfaces.cli.names import unknown
from interfaces.cli.status import agent_condition

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="One agent in full.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class AgentList(BaseModel):
    """`brainops agents --json`."""

    agents: list[AgentState]


def agents(name: Name = None, json: Json = False) -> None:
    """List the agents, or show one with its work, its overrides and how it has changed."""
    complete(_show(name, json))


async def _show(name: str | None, json: bool) -> None:
    async with connect() as stack:
        crew = list(await CrewStore(stack.database).all())
    if name is None:
        _list(crew, json)
        return
    found = next((agent for agent in crew if agent.name == name), None)
    if found is None:
        raise unknown("agent", name, (agent.name for agent in crew))
    if json:
        print_json(found)
    else:
        _tell(found, datetime.now(UTC))


def _list(crew: list[AgentState], json: bool) -> None:
    if json:
        print_json(AgentList(agents=crew))
    elif not crew:
        say("No agent has come to life yet; they do when `brainops up` starts the workers.")
    else:
        rows = [
            (
                agent.name,
                state(agent_condition(agent)),
                agent.job,
                str(len(agent.current_work)),
                str(agent.finished_count),
            )
            for agent in crew
        ]
        say(table("Agents", ("agent", "state", "job", "now", "done"), rows, elastic="job"))


def _tell(agent: AgentState, now: datetime) -> None:
    say(plain(agent.name, "bold"))
    budget = agent.budget
    spent = (
        f"{budget.spent_usd:.2f} of {budget.daily_usd:.2f} USD today" if budget.daily_usd is not None else "no models"
    )
    say(
        facts(
            [
                ("state", state(agent_condition(agent))),
                ("paused", agent.paused_reason if agent.paused else ""),
                ("job", agent.job),
                ("budget", spent),
                ("strategy", f"version {agent.strategy_version}"),
                ("finished", str(agent.finished_count)),
                ("workflow", agent_workflow_id(agent.name)),
            ]
        )
    )
    if agent.current_work:
        work = [(item.summary, when(item.since, now), item.workflow_id) for item in agent.current_work]
        say(table("Works on", ("what", "since", "workflow"), work, elastic="what"))
    if agent.overrides:
        overrides = [
            (
                item.service,
                item.action_class.value.replace("_", " "),
                state(item.level.value),
                item.reason,
                when(item.at, now),
            )
            for item in agent.overrides
        ]
        say(table("Autonomy that differs", ("service", "action", "level", "why", "since"), overrides, elastic="why"))
    if agent.evolution:
        changes = [(str(item.version), item.change, when(item.at, now)) for item in agent.evolution]
        say(table("How it has changed", ("version", "change", "when"), changes, elastic="change"))
