"""Approvals: a plan asks, a person answers, or time does."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from brainops.contracts.agent import ActionClass
from brainops.contracts.base import DEFAULT_TENANT, Actor, Contract, ShortText


class ApprovalStatus(StrEnum):
    """`expired` and `withdrawn` mean: not done."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class Approval(Contract):
    """A question to a person, as kept in `approvals`."""

    id: UUID
    tenant_id: str = DEFAULT_TENANT
    plan_id: UUID
    workflow_id: str
    run_id: str
    service: str
    action_class: ActionClass
    question: ShortText
    status: ApprovalStatus = ApprovalStatus.PENDING
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None = None
    decided_by: Actor | None = None


class ApprovalDecision(Contract):
    """A person's answer, sent as an update to the workflow that waits."""

    approval_id: UUID
    approved: bool
    actor: Actor
    reason: ShortText = ""
