"""`brainops incidents`: the list, and one incident's story: what was seen, tried, verified, and how long it took."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer
from rich.table import Table
from rich.text import Text

from brainops.contracts.incident import Evidence, FileCondition
from brainops.effects.ledger import Effect
from brainops.incidents.store import IncidentStore
from brainops.services.store import ServiceStore
from interfaces.api.views import IncidentLine, IncidentList, IncidentStory, read_story
from interfaces.cli.approvals import approval_table
from interfaces.cli.context import Connections, complete, connect
from interfaces.cli.display import ago, clock, duration, facts, plain, print_json, say, state, table, when
from interfaces.cli.names import unknown

SHORT_ID = 8
NAMESPACE = "default"
MOST_ALERTS = 20
"""Alerts that the screen shows; `--json` has more."""

Id = Annotated[str | None, typer.Argument(metavar="[ID]", help="One incident's story; the first characters will do.")]


class StoryAnswer(IncidentStory):
    """`brainops incidents ID --json`."""

    temporal_url: str | None
    """The incident's workflow in the Temporal UI; null where the server is not ours."""


def incidents(
    incident_id: Id = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    service: Annotated[str | None, typer.Option(help="Only those of this service.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most this many.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON document for programs.")] = False,
) -> None:
    """List incidents, newest first, or tell one's story."""
    if incident_id is None:
        complete(_list(open_only, service, limit, json))
    else:
        complete(_tell(incident_id, json))


async def _list(open_only: bool, service: str | None, limit: int, json: bool) -> None:
    async with connect() as stack:
        rows = await IncidentStore(stack.database).list(limit=limit, open_only=open_only, service=service)
        if service is not None and not rows:
            await _refuse_unknown_service(stack, service)
    lines = [IncidentLine.of(row) for row in rows]
    if json:
        print_json(IncidentList(incidents=lines))
    elif lines:
        say(incident_table("Incidents", lines, datetime.now(UTC)))
    else:
        of = f" of {service}" if service else ""
        say(f"No incident{of} is open." if open_only else f"There has been no incident{of}.")


async def _refuse_unknown_service(stack: Connections, service: str) -> None:
    known = [row.name for row in await ServiceStore(stack.database).list()]
    if service not in known:
        raise unknown("service", service, known)


def incident_table(title: str, lines: Sequence[IncidentLine], now: datetime) -> Table:
    """Incidents for people."""
    rows = [
        (
            str(line.id)[:SHORT_ID],
            line.service,
            state(line.status.value),
            _gist(line),
            ago(line.opened_at, now),
            duration(line.seconds) if line.seconds is not None else duration(now - line.opened_at),
        )
        for line in lines
    ]
    return table(title, ("id", "service", "state", "what", "opened", "lasted"), rows, elastic="what")


def _gist(line: IncidentLine) -> str:
    what = line.cause or line.headline or f"{line.check} fails"
    return f"{what} → {line.remedy.replace('_', ' ')}" if line.remedy else what


async def _tell(text: str, json: bool) -> None:
    async with connect() as stack:
        story = await read_story(stack.database, text)
    ui_url = stack.info.ui_url if stack.info is not None else None
    link = workflow_url(ui_url, story.incident.workflow_id, story.incident.run_id) if ui_url else None
    answer = StoryAnswer(**dict(story), temporal_url=link)
    if json:
        print_json(answer)
    else:
        say(*screen(answer, datetime.now(UTC)))


def workflow_url(ui_url: str, workflow_id: str, run_id: str) -> str:
    """Address of one workflow run in the Temporal UI."""
    return f"{ui_url.rstrip('/')}/namespaces/{NAMESPACE}/workflows/{quote(workflow_id, safe='')}/{run_id}"


def screen(story: StoryAnswer, now: datetime) -> list[Table | Text | str]:
    """One incident for people."""
    line = story.incident
    title = Text.assemble(plain(f"{line.service}/{line.check} ", "bold"), state(line.status.value))
    lasted = duration(line.seconds) if line.seconds is not None else f"{duration(now - line.opened_at)} until now"
    parts: list[Table | Text | str] = [
        title,
        facts(
            [
                ("what", line.headline),
                ("cause", line.cause),
                ("remedy", line.remedy.replace("_", " ")),
                ("opened", when(line.opened_at, now)),
                ("lasted", lasted),
                ("signature", story.signature),
                ("also failed", ", ".join(story.dependents)),
                ("part of", story.absorbed_into),
                ("id", str(line.id)),
                ("workflow", line.workflow_id),
                ("Temporal UI", story.temporal_url or ""),
            ]
        ),
    ]
    if story.timeline:
        start = line.opened_at
        rows = [
            (clock(event.at, now), f"+{duration(event.at - start)}", state(event.status.value), event.note)
            for event in story.timeline
        ]
        parts.append(table("Timeline", ("at", "after", "state", "what happened"), rows, elastic="what happened"))
    if story.evidence is not None:
        seen = highlights(story.evidence)
        if seen:
            parts.extend((plain("Evidence", "bold"), facts(seen)))
    parts.extend(_grouped(story, now))
    parts.extend(_tried(story))
    if story.approvals:
        parts.append(approval_table(story.approvals, now))
    return parts


def _grouped(story: StoryAnswer, now: datetime) -> list[Table | Text | str]:
    """What fails because of it, and is told with it."""
    parts: list[Table | Text | str] = []
    if story.absorbed:
        parts.append(incident_table("Incidents that became part of it", story.absorbed, now))
    if story.alerts:
        rows = [
            (
                alert.service,
                alert.check,
                plain(f"over {ago(alert.resolved_at, now)}", "green") if alert.resolved_at else state("failing"),
                alert.detail or alert.reason,
                ago(alert.since, now),
            )
            for alert in story.alerts[:MOST_ALERTS]
        ]
        title = "Alerts that are part of it"
        if len(story.alerts) > MOST_ALERTS:
            title += f": {MOST_ALERTS} of {len(story.alerts)}; --json has more"
        parts.append(table(title, ("service", "check", "now", "seen", "since"), rows, elastic="seen"))
    return parts


def _tried(story: StoryAnswer) -> list[Table | Text | str]:
    parts: list[Table | Text | str] = []
    if story.decisions:
        rows = [
            (plain(made.decision.replace("_", " ")), made.reason, ", ".join(made.alternatives) or "-")
            for made in story.decisions
        ]
        parts.append(table("Decided", ("what", "why", "instead of"), rows, elastic="why"))
    if story.attempts:
        attempts = [
            (
                attempt.remedy.replace("_", " "),
                _outcome(helped=attempt.helped, harmful=attempt.harmful, undone=attempt.undone),
                attempt.summary or attempt.cause,
                duration(attempt.verify_seconds),
            )
            for attempt in story.attempts
        ]
        parts.append(table("Tried", ("remedy", "outcome", "verified", "in"), attempts, elastic="verified"))
    if story.effects:
        effects = [
            (
                str(effect.step),
                f"{'undo: ' if effect.undoing else ''}{effect.action.kind.replace('_', ' ')}",
                effect.action.service,
                _effect_state(effect),
                effect.result.summary if effect.result else "",
            )
            for effect in story.effects
        ]
        parts.append(table("Done", ("step", "action", "service", "state", "result"), effects, elastic="result"))
    return parts


def _effect_state(effect: Effect) -> Text:
    return plain(effect.state, {"done": "green", "failed": "red"}.get(effect.state, "yellow"))


def _outcome(*, helped: bool, harmful: bool, undone: bool) -> Text:
    if helped:
        return plain("helped", "green")
    words = "made it worse" if harmful else "did not help"
    return plain(f"{words}, undone" if undone else words, "red")


def highlights(evidence: Evidence) -> list[tuple[str, str | Text]]:
    """Of everything that was captured, what is out of the ordinary."""
    seen: list[tuple[str, str | Text]] = [("check", f"{evidence.reason.value} {evidence.detail}".strip())]
    failing = [f"{check}: {reason.value}" for check, reason in evidence.probes.items() if reason.value != "none"]
    seen.append(("also fails", ", ".join(failing)))
    ended = evidence.state.exit
    if ended is not None:
        how = f"by signal {ended.signal}" if ended.signal is not None else f"with code {ended.exit_code}"
        seen.append(("ended", how))
    if evidence.failed_starts:
        seen.append(("failed starts", str(evidence.failed_starts)))
    seen.extend(
        ("file", f"{file.path}: {file.condition.value} {file.detail}".strip())
        for file in evidence.files
        if file.condition not in (FileCondition.SAME, FileCondition.UNKEPT)
    )
    seen.extend(
        ("folder", f"{folder.path}: {'over its limit' if folder.exists else 'missing'}")
        for folder in evidence.folders
        if folder.over_limit or not folder.exists
    )
    seen.extend(
        ("port", f"{port.port} is held by {port.holder_command} (pid {port.holder_pid})")
        for port in evidence.ports
        if port.holder_pid is not None and not port.holder_is_service
    )
    seen.extend(
        ("dependency", f"{needed.service}/{needed.check} fails: {needed.reason.value} {needed.detail}".strip())
        for needed in evidence.dependencies
        if not needed.passing
    )
    seen.append(("log", evidence.log.error_line))
    return [(name, value) for name, value in seen if value]
