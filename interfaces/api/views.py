"""What the stack's state looks like to those who ask: the answers of the HTTP API and of `--json`, the same shapes."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from brainops.checks.store import CheckStore
from brainops.contracts.agent import AgentState, Autonomy
from brainops.contracts.approval import Approval
from brainops.contracts.check import CheckState, CheckStatus, Reason
from brainops.contracts.incident import Evidence, IncidentStatus
from brainops.contracts.recording import DecisionLine
from brainops.crew.store import CrewStore
from brainops.database.engine import Database
from brainops.effects.ledger import Effect
from brainops.incidents.store import AlertRow, AttemptRow, IncidentRow, IncidentStore, TimelineEntry
from brainops.memory.deeds import DeedStore
from brainops.services.store import ServiceRow, ServiceStore

UPTIME_WINDOW = timedelta(hours=24)
MOST_OPEN = 100
"""Open incidents that a status shows."""

ServiceCondition = Literal["passing", "failing", "unknown"]


class CheckView(BaseModel):
    """One check of a service, as it is now."""

    check: str
    status: CheckStatus
    reason: Reason
    """Why it fails; `none` while it passes."""
    detail: str
    latency_ms: float | None
    """Of the last good probe."""
    since: datetime
    """When it came to this status."""


class ServiceView(BaseModel):
    """One service, as it is now."""

    name: str = Field(examples=["checkout"])
    host: str
    state: ServiceCondition
    """`failing` if any check fails, `passing` if all pass, `unknown` before the first look."""
    paused: bool
    paused_reason: str
    autonomy: Autonomy | dict[str, Autonomy]
    uptime_24h: float | None = Field(examples=[0.9993])
    """Share of good probes of the last 24 hours, 0 to 1; null without one."""
    incident: UUID | None
    """Its open incident."""
    checks: list[CheckView]


class IncidentLine(BaseModel):
    """One incident in a list."""

    id: UUID
    service: str
    check: str
    status: IncidentStatus
    headline: str
    cause: str
    remedy: str
    opened_at: datetime
    closed_at: datetime | None
    seconds: float | None
    """From opening to closing; null while it is open."""
    workflow_id: str
    run_id: str

    @classmethod
    def of(cls, row: IncidentRow) -> "IncidentLine":
        """The line of a row."""
        return cls(
            id=row.plan_id,
            service=row.service,
            check=row.check,
            status=row.status,
            headline=row.headline,
            cause=row.cause,
            remedy=row.remedy,
            opened_at=row.opened_at,
            closed_at=row.closed_at,
            seconds=(row.closed_at - row.opened_at).total_seconds() if row.closed_at else None,
            workflow_id=row.workflow_id,
            run_id=row.run_id,
        )


class IncidentList(BaseModel):
    """Incidents, newest first."""

    incidents: list[IncidentLine]


class IncidentStory(BaseModel):
    """One incident with everything that was seen, decided, tried, done and asked."""

    incident: IncidentLine
    signature: str
    """Names the fault; the key of what is known of it."""
    dependents: list[str]
    """Services that failed because of it."""
    absorbed: list[IncidentLine]
    """Incidents that became part of it."""
    alerts: list[AlertRow]
    """Failing checks that became part of it without an incident of their own, unresolved ones first; at most 1000."""
    absorbed_into: str
    """Workflow id of the incident that it became part of; empty for all others."""
    timeline: list[TimelineEntry]
    decisions: list[DecisionLine]
    attempts: list[AttemptRow]
    effects: list[Effect]
    approvals: list[Approval]
    evidence: Evidence | None


class Overview(BaseModel):
    """Everything that is now: services, agents, what is open, what waits for a person."""

    at: datetime
    services: list[ServiceView]
    agents: list[AgentState]
    incidents: list[IncidentLine]
    """Those that are open."""
    approvals: list[Approval]
    """Those that are pending."""


async def read_story(database: Database, id_or_prefix: str) -> IncidentStory:
    """Everything about one incident. Raises NotFoundError, or BadInputError for a prefix of several."""
    found = await IncidentStore(database).get(id_or_prefix)
    return IncidentStory(
        incident=IncidentLine.of(found.row),
        signature=found.row.signature,
        dependents=list(found.row.dependents),
        absorbed=[IncidentLine.of(row) for row in found.absorbed],
        alerts=list(found.alerts),
        absorbed_into=found.row.absorbed_into,
        timeline=list(found.timeline),
        decisions=list(await DeedStore(database).decisions(found.row.plan_id)),
        attempts=list(found.attempts),
        effects=list(found.effects),
        approvals=list(found.approvals),
        evidence=found.evidence,
    )


async def read_overview(database: Database, now: datetime | None = None) -> Overview:
    """Read the state of all services from the database alone."""
    at = now or datetime.now(UTC)
    checks = CheckStore(database)
    incidents = IncidentStore(database)
    states: defaultdict[str, list[CheckState]] = defaultdict(list)
    for state in await checks.states(None):
        states[state.service].append(state)
    opened = await incidents.list(limit=MOST_OPEN, open_only=True)
    incident_of = {row.service: row.plan_id for row in reversed(opened)}
    services = [
        _service_view(
            row,
            states[row.name],
            await checks.uptime(row.name, at - UPTIME_WINDOW),
            incident_of.get(row.name),
        )
        for row in await ServiceStore(database).list()
    ]
    return Overview(
        at=at,
        services=services,
        agents=list(await CrewStore(database).all()),
        incidents=[IncidentLine.of(row) for row in opened],
        approvals=list(await incidents.pending_approvals()),
    )


def _service_view(
    row: ServiceRow, states: list[CheckState], uptime: float | None, incident: UUID | None
) -> ServiceView:
    return ServiceView(
        name=row.name,
        host=row.host,
        state=condition(states),
        paused=row.paused,
        paused_reason=row.paused_reason,
        autonomy=row.autonomy,
        uptime_24h=uptime,
        incident=incident,
        checks=[
            CheckView(
                check=state.check,
                status=state.status,
                reason=state.reason,
                detail=state.detail,
                latency_ms=state.latency_ms,
                since=state.since,
            )
            for state in sorted(states, key=lambda state: state.check)
        ],
    )


def condition(states: list[CheckState]) -> ServiceCondition:
    """What the checks say together."""
    found = {state.status for state in states}
    if CheckStatus.FAILING in found:
        return "failing"
    return "passing" if found == {CheckStatus.PASSING} else "unknown"
