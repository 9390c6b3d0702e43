"""Incidents as people and programs read them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from brainops.contracts.agent import ActionClass
from brainops.contracts.approval import Approval
from brainops.contracts.base import Actor, Contract
from brainops.contracts.check import CheckState, Observation
from brainops.contracts.incident import Evidence, IncidentStatus
from brainops.effects.ledger import Effect


class IncidentRow(Contract):
    """One incident, without what was captured."""

    plan_id: UUID
    workflow_id: str
    run_id: str
    host: str
    service: str
    check: str
    seq: int
    status: IncidentStatus
    signature: str
    signature_description: str
    headline: str
    cause: str
    remedy: str
    root_plan: UUID | None
    """Its own plan for a root, the plan it became part of for an absorbed one, None while undecided."""
    absorbed_into: str
    """Workflow id of the incident that it became part of; empty for all others."""
    dependents: tuple[str, ...]
    model_calls: int
    opened_at: datetime
    verified_at: datetime | None
    """When a remedy was verified; for an absorbed one, when its root was closed."""
    closed_at: datetime | None
    history_key: str | None
    """Object-storage key of the kept workflow history; empty when there was none left to keep, None until then."""


class TimelineEntry(Contract):
    """One line of an incident's timeline."""

    at: datetime
    status: IncidentStatus
    note: str


class AttemptRow(Contract):
    """A remedy that was tried."""

    remedy: str
    action_class: ActionClass
    first_step: int
    helped: bool
    harmful: bool
    undone: bool
    cause: str
    summary: str
    verify_seconds: float
    created_at: datetime


class AlertRow(Contract):
    """A failing check that is part of an incident and has none of its own."""

    service: str
    check: str
    reason: str
    detail: str
    since: datetime
    resolved_at: datetime | None
    """When it no longer failed; None while it does."""


class IncidentDetail(Contract):
    """An incident with everything that was seen, asked and done."""

    row: IncidentRow
    observation: Observation
    evidence: Evidence | None
    timeline: tuple[TimelineEntry, ...]
    attempts: tuple[AttemptRow, ...]
    effects: tuple[Effect, ...]
    approvals: tuple[Approval, ...]
    absorbed: tuple[IncidentRow, ...]
    """Incidents that became part of this one."""
    alerts: tuple[AlertRow, ...]
    """Failing checks that became part of it, unresolved ones first; of a storm the first thousand."""


class FinishedPlan(NamedTuple):
    """A closed incident whose workflow history is not kept yet."""

    plan_id: UUID
    workflow_id: str
    run_id: str


def read_incident(row: Mapping[Any, Any]) -> IncidentRow:
    """From a row of `incidents` with `absorbed_into`."""
    return IncidentRow.model_validate({**row, "check": row["check_name"]})


def read_approval(row: Mapping[Any, Any]) -> Approval:
    """From a row of `approvals`, or its JSON."""
    decided_by = row["decided_by"]
    return Approval.model_validate({**row, "decided_by": Actor.parse(decided_by) if decided_by else None})


def read_check_state(row: Mapping[Any, Any]) -> CheckState:
    """From a row of `check_states`."""
    return CheckState.model_validate({**row, "check": row["check_name"]})
