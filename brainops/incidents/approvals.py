"""Approvals: asked once, answered once, by whoever comes first: a person, the clock, or the plan that withdraws."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.approval import Approval, ApprovalDecision, ApprovalStatus
from brainops.database.engine import Database
from brainops.errors import ConflictError, NotFoundError
from brainops.incidents.rows import read_approval
from brainops.incidents.tables import approvals

_SAVE = text("""
    INSERT INTO brainops.approvals AS kept
        (id, plan_id, workflow_id, run_id, service, action_class, question, status, created_at, expires_at,
         decided_at, decided_by)
    VALUES (:id, :plan_id, :workflow_id, :run_id, :service, :action_class, :question, :status, :created_at,
        :expires_at, :decided_at, :decided_by)
    ON CONFLICT (tenant_id, id) DO UPDATE
    SET status = excluded.status, expires_at = excluded.expires_at, workflow_id = excluded.workflow_id,
        run_id = excluded.run_id, decided_at = excluded.decided_at, decided_by = excluded.decided_by
    WHERE kept.status = 'pending'
""")

_DECIDE = text("""
    UPDATE brainops.approvals
    SET status = :status, decided_at = :now, decided_by = :actor, reason = :reason
    WHERE id = :id AND status = 'pending' AND expires_at > :now
    RETURNING *
""")


class ApprovalStore:
    """Reads and writes `approvals`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_approval(self, approval: Approval) -> None:
        """Insert a question, or bring a pending one up to date. An answered one is left as it is."""
        async with self._database.transaction() as connection:
            await write_approval(connection, approval)

    async def decide_approval(self, decision: ApprovalDecision, now: datetime) -> Approval:
        """Write a person's answer; the first one holds. The same call repeated (same `now`) gets the same answer.

        Raises NotFoundError for an unknown id, ConflictError when it was answered, withdrawn or has expired.
        """
        status = ApprovalStatus.APPROVED if decision.approved else ApprovalStatus.REJECTED
        values = {
            "id": decision.approval_id,
            "status": status.value,
            "now": now,
            "actor": str(decision.actor),
            "reason": decision.reason,
        }
        async with self._database.transaction() as connection:
            row = (await connection.execute(_DECIDE, values)).mappings().first()
            if row is not None:
                return read_approval(row)
            kept = await _one(connection, decision.approval_id)
        if (kept.status, kept.decided_at, kept.decided_by) == (status, now, decision.actor):
            return kept
        raise ConflictError(_why_not(kept))

    async def approval(self, approval_id: UUID) -> Approval:
        """One approval. Raises NotFoundError."""
        async with self._database.transaction() as connection:
            return await _one(connection, approval_id)

    async def pending_approvals(self) -> list[Approval]:
        """Those that wait for an answer, oldest first."""
        query = select(approvals).where(approvals.c.status == "pending").order_by(approvals.c.created_at)
        return [read_approval(row) for row in await self._database.read(query)]

    async def approvals(self, limit: int) -> list[Approval]:
        """All, newest first, at most `limit`."""
        query = select(approvals).order_by(approvals.c.created_at.desc()).limit(limit)
        return [read_approval(row) for row in await self._database.read(query)]

    async def plan_approvals(self, plan_id: UUID) -> list[Approval]:
        """Those of one plan, oldest first."""
        query = select(approvals).where(approvals.c.plan_id == plan_id).order_by(approvals.c.created_at)
        return [read_approval(row) for row in await self._database.read(query)]


async def write_approval(connection: AsyncConnection, approval: Approval) -> None:
    """`ApprovalStore.save_approval` inside a transaction that is open already."""
    values = approval.model_dump(exclude={"tenant_id", "decided_by", "status", "action_class"})
    await connection.execute(
        _SAVE,
        values
        | {
            "status": approval.status.value,
            "action_class": approval.action_class.value,
            "decided_by": str(approval.decided_by) if approval.decided_by else None,
        },
    )


async def _one(connection: AsyncConnection, approval_id: UUID) -> Approval:
    row = (await connection.execute(select(approvals).where(approvals.c.id == approval_id))).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no approval {approval_id}; `brainops approvals --all` lists them")
    return read_approval(row)


def _why_not(kept: Approval) -> str:
    if kept.status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED) and kept.decided_at is not None:
        return f"approval {kept.id} was {kept.status.value} already by {kept.decided_by} at {_clock(kept.decided_at)}"
    if kept.status is ApprovalStatus.WITHDRAWN:
        return f"approval {kept.id} was withdrawn: its plan goes on without the action"
    return f"approval {kept.id} expired at {_clock(kept.expires_at)} and counts as rejected"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S %Z}"
