"""`brainops status`: one screen that says what runs, what fails and what waits for a person."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import psutil
import typer
from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from brainops.contracts.agent import AgentState, Autonomy
from brainops.contracts.check import CheckStatus
from interfaces.api.views import CheckView, Overview, ServiceView, read_overview
from interfaces.cli.approvals import approval_table
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import ago, facts, plain, print_json, say, state, table, when
from interfaces.cli.incidents import incident_table
from workers.stack.state import StackInfo

Json = Annotated[bool, typer.Option("--json", help="One JSON document for programs.")]


class StackView(BaseModel):
    """The stack itself."""

    pid: int | None
    """Of `brainops up`; null when the addresses came from the environment."""
    up_since: datetime | None
    temporal_reachable: bool
    memory_only: bool
    """Nothing but memory runs: nothing is watched."""
    ui_url: str | None
    api_url: str | None
    state_dir: str


class Status(Overview):
    """`brainops status --json`."""

    stack: StackView


def status(json: Json = False) -> None:
    """Show what runs, what fails and what waits for your answer."""
    complete(_show(json))


async def _show(json: bool) -> None:
    async with connect() as stack:
        # One after the other: a command that ends while the SDK still connects gets a panic from its threads.
        overview = await read_overview(stack.database)
        reachable = not _memory_only(stack) and await stack.temporal_answers()
        seen = Status(**dict(overview), stack=_stack_view(stack, reachable))
    if json:
        print_json(seen)
    else:
        say(*screen(seen, datetime.now(UTC)))


def _stack_view(stack: Connections, reachable: bool) -> StackView:
    info = stack.info
    return StackView(
        pid=info.pid if info else None,
        up_since=_started(info) if info else None,
        temporal_reachable=reachable,
        memory_only=_memory_only(stack),
        ui_url=info.ui_url if info else None,
        api_url=info.api_url if info else None,
        state_dir=str(stack.paths.root),
    )


def _memory_only(stack: Connections) -> bool:
    return stack.info is not None and stack.info.memory_only


def _started(info: StackInfo) -> datetime | None:
    try:
        return datetime.fromtimestamp(psutil.Process(info.pid).create_time(), UTC)
    except psutil.NoSuchProcess:
        return None


def screen(seen: Status, now: datetime) -> list[Table | Text | str]:
    """The status for people."""
    parts: list[Table | Text | str] = [_stack_facts(seen.stack, now)]
    if seen.stack.memory_only:
        return [*parts, "Memory runs alone: nothing is watched or healed. `brainops memory stats` says what is kept."]
    if not seen.stack.temporal_reachable:
        parts.append(
            plain(
                "Temporal does not answer: what follows is from the database alone, and nothing is healed now.", "red"
            )
        )
    if seen.services:
        rows = [row for service in seen.services for row in _service_rows(service, now)]
        parts.append(table("Services", ("service", "state", "check", "seen", "since", "24 h"), rows, elastic="seen"))
    else:
        parts.append("No services yet: describe yours in brainops.yaml and start with `brainops up --config FILE`.")
    parts.extend(_notes(seen.services))
    if seen.agents:
        parts.append(_agents_line(seen.agents))
    parts.append(incident_table("Open incidents", seen.incidents, now) if seen.incidents else "No open incidents.")
    if seen.approvals:
        parts.extend(
            (approval_table(seen.approvals, now), "Answer with `brainops approve ID` or `brainops reject ID`.")
        )
    return parts


def _stack_facts(stack: StackView, now: datetime) -> Table:
    up = f"up since {when(stack.up_since, now)}, pid {stack.pid}" if stack.up_since else "named by the environment"
    return facts(
        [
            ("stack", up),
            ("Temporal UI", stack.ui_url or ""),
            ("API", stack.api_url or ""),
            ("state", stack.state_dir),
        ]
    )


def _service_rows(service: ServiceView, now: datetime) -> list[tuple[str | Text, ...]]:
    uptime = f"{service.uptime_24h * 100:.2f} %" if service.uptime_24h is not None else "-"
    condition = state("paused") if service.paused else state(service.state)
    first: tuple[str | Text, str | Text, str | Text] = (plain(service.name, "bold"), condition, uptime)
    rows: list[tuple[str | Text, ...]] = []
    for check in service.checks:
        name, shown, share = first if not rows else ("", "", "")
        rows.append((name, shown, check.check, _seen(check), ago(check.since, now), share))
    return rows or [(first[0], first[1], "-", "not looked at yet", "-", uptime)]


def _seen(check: CheckView) -> Text:
    if check.status is CheckStatus.FAILING:
        return plain(f"{check.reason.value}: {check.detail}" if check.detail else check.reason.value, "red")
    if check.status is CheckStatus.UNKNOWN:
        return state("unknown")
    return plain(f"ok, {check.latency_ms:.0f} ms" if check.latency_ms else "ok", "green")


def _notes(services: Sequence[ServiceView]) -> list[str]:
    """What restrains BrainOps, the services of one restraint in one line."""
    names: dict[str, list[str]] = {}
    for service in services:
        if note := _service_note(service):
            names.setdefault(note, []).append(service.name)
    return [f"{', '.join(those)}: {note}" for note, those in names.items()]


def _service_note(service: ServiceView) -> str:
    notes: list[str] = []
    if service.paused:
        notes.append(f"paused{f' ({service.paused_reason})' if service.paused_reason else ''}")
    if isinstance(service.autonomy, dict):
        levels = ", ".join(f"{action}: {level}" for action, level in sorted(service.autonomy.items()))
        notes.append(f"autonomy {levels}" if levels else "only observed")
    elif service.autonomy is not Autonomy.ACT:
        notes.append("only observed" if service.autonomy is Autonomy.OBSERVE else f"autonomy {service.autonomy}")
    return "; ".join(notes)


def _agents_line(agents: Sequence[AgentState]) -> Text:
    line = Text("Agents: ")
    for number, agent in enumerate(agents):
        line.append(", " if number else "")
        line.append(agent.name + " ")
        line.append_text(state(agent_condition(agent)))
    return line


def agent_condition(agent: AgentState) -> str:
    """One word, or two, for where an agent stands."""
    if agent.paused:
        return "paused"
    if not agent.enabled:
        return "disabled"
    if not agent.has_job:
        return "no job yet"
    return "working" if agent.current_work else "ready"
