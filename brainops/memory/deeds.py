"""Memory of deeds: what was done and by whom, what was decided and why."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text

from brainops.contracts.incident import DecisionRecord
from brainops.contracts.recording import DecisionLine, WorkRecord
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.memory.tables import decision_logs, work_history

_RECORD_WORK = text("""
    INSERT INTO brainops.work_history
        (key, task_id, agent, actor, action, service, input, output, success, error_message, duration_ms,
         workflow_id, run_id, started_at)
    VALUES (:key, :task_id, :agent, :actor, :action, :service, CAST(:input AS jsonb), CAST(:output AS jsonb),
        :success, :error_message, :duration_ms, :workflow_id, :run_id, :started_at)
    ON CONFLICT (tenant_id, key) DO NOTHING
""")

# A line that equals the plan's last one is the repetition of a call whose answer was lost.
_RECORD_DECISION = text("""
    INSERT INTO brainops.decision_logs
        (plan_id, plan, workflow_id, run_id, agent, decision, reason, alternatives, context)
    SELECT :plan_id, CAST(:plan AS jsonb), :workflow_id, :run_id, :agent, :decision, :reason,
        CAST(:alternatives AS jsonb), CAST(:context AS jsonb)
    WHERE NOT EXISTS (
        SELECT FROM (
            SELECT decision, reason, context FROM brainops.decision_logs
            WHERE plan_id = :plan_id ORDER BY id DESC LIMIT 1
        ) AS last
        WHERE last.decision = :decision AND last.reason = :reason AND last.context = CAST(:context AS jsonb)
    )
""")

_MANUAL_SHARE = text("""
    SELECT avg((actor LIKE 'person:%')::int)::float8 AS share FROM brainops.work_history WHERE started_at >= :since
""")


class DeedStore:
    """Reads and writes `work_history` and `decision_logs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record_work(self, record: WorkRecord) -> None:
        """Keep one deed; the same key again changes nothing."""
        values: dict[str, Any] = record.model_dump(exclude={"actor", "input", "output"})
        values |= {
            "actor": str(record.actor),
            "input": None if record.input is None else to_json(record.input),
            "output": None if record.output is None else to_json(record.output),
        }
        await self._database.write(_RECORD_WORK, values)

    async def record_decision(self, record: DecisionRecord) -> None:
        """Keep one choice with its alternatives; the same one twice in a row is kept once."""
        values = {
            "plan_id": record.plan.plan_id,
            "plan": to_json(record.plan),
            "workflow_id": record.plan.workflow_id,
            "run_id": record.plan.run_id,
            "agent": record.agent,
            "decision": record.decision,
            "reason": record.reason,
            "alternatives": to_json(record.alternatives),
            "context": to_json(record.context),
        }
        await self._database.write(_RECORD_DECISION, values)

    async def work(self, limit: int, before: datetime | None = None, service: str | None = None) -> list[WorkRecord]:
        """Deeds, newest first, at most `limit`. `before`: only those that began earlier."""
        query = select(work_history).order_by(work_history.c.started_at.desc(), work_history.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(work_history.c.started_at < before)
        if service is not None:
            query = query.where(work_history.c.service == service)
        rows = await self._database.read(query)
        return [WorkRecord.model_validate({**row, "actor": _actor(row["actor"])}) for row in rows]

    async def decisions(self, plan_id: UUID) -> list[DecisionLine]:
        """The choices of one plan, in the order in which they were made."""
        query = select(decision_logs).where(decision_logs.c.plan_id == plan_id).order_by(decision_logs.c.id)
        rows = await self._database.read(query)
        return [DecisionLine.model_validate({**row, "at": row["created_at"]}) for row in rows]

    async def manual_share(self, since: datetime) -> float | None:
        """Share of the deeds since then that a person caused, 0 to 1; None when nothing was done."""
        return (await self._database.read(_MANUAL_SHARE, {"since": since}))[0]["share"]


def _actor(text: str) -> dict[str, str]:
    kind, _, name = text.partition(":")
    return {"kind": kind, "name": name}
