"""What was done, by whom, and how it went: one record for each deed."""

from datetime import datetime
from typing import Any

from pydantic import Field

from brainops.contracts.base import Actor, Contract, ShortText


class WorkRecord(Contract):
    """One deed, for `work_history`. Redacted before it is made."""

    key: str
    """Names this one run of the deed, so that recording it twice keeps one row."""
    task_id: str
    agent: str
    """The agent that answers for it."""
    actor: Actor
    """Who caused it."""
    action: str
    service: str = ""
    """The service it was about; empty: none."""
    input: Any = None
    output: Any = None
    success: bool
    error_message: str = ""
    duration_ms: float
    workflow_id: str
    run_id: str
    started_at: datetime


class DecisionLine(Contract):
    """One choice with its alternatives, as kept in `decision_logs`."""

    at: datetime
    agent: str
    decision: ShortText
    reason: ShortText
    alternatives: tuple[str, ...] = ()
    context: dict[str, Any] = Field(default_factory=dict)
    workflow_id: str
    run_id: str
