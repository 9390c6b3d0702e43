"""Incidents as rows: everything that a plan needs to be taken up again on another worker or a fresh server.

What is on the way of healing (`open`, `save_evidence`, `decide_root`, `record_attempt`, `update`) is at most three
statements in one transaction.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.config.models import Recurrence
from brainops.contracts.check import Observation
from brainops.contracts.incident import (
    Attempt,
    AttemptRecord,
    Evidence,
    EvidenceSummary,
    IncidentStatus,
    IncidentUpdate,
    Opening,
    PlanRef,
    Root,
    RootRequest,
)
from brainops.database.values import to_json
from brainops.errors import ConflictError, NotFoundError
from brainops.incidents.approvals import ApprovalStore, write_approval
from brainops.incidents.reading import IncidentReader
from brainops.incidents.root_store import decide_root
from brainops.incidents.roots import Dependencies
from brainops.incidents.rows import (
    AlertRow,
    AttemptRow,
    FinishedPlan,
    IncidentDetail,
    IncidentRow,
    TimelineEntry,
    read_approval,
)

__all__ = ["AlertRow", "AttemptRow", "FinishedPlan", "IncidentDetail", "IncidentRow", "IncidentStore", "TimelineEntry"]

# An older open row of the same workflow id belongs to a plan that no longer runs, since Temporal runs one plan of an
# id at a time: the new plan takes its place.
_OPEN = text("""
    WITH known AS (
        SELECT 1 FROM brainops.incidents WHERE plan_id = :plan
    ), newer AS (
        SELECT 1 FROM brainops.incidents
        WHERE service = :service AND check_name = :check AND seq >= :seq AND closed_at IS NOT NULL AND plan_id <> :plan
        LIMIT 1
    ), opened AS (
        INSERT INTO brainops.incidents
            (plan_id, workflow_id, run_id, host, service, check_name, seq, observation, status, dependents)
        SELECT :plan, :workflow, :run, :host, :service, :check, :seq, CAST(:observation AS jsonb), 'open', '[]'
        WHERE NOT EXISTS (SELECT FROM newer) AND NOT EXISTS (SELECT FROM known)
        ON CONFLICT (tenant_id, plan_id) DO NOTHING
        RETURNING plan_id, workflow_id, run_id
    ), replaced AS (
        UPDATE brainops.incidents old SET status = 'dismissed', closed_at = clock_timestamp()
        FROM opened
        WHERE old.closed_at IS NULL AND old.service = :service AND old.workflow_id = :workflow AND old.plan_id <> :plan
        RETURNING old.plan_id, old.workflow_id, old.run_id
    ), line AS (
        INSERT INTO brainops.incident_events (plan_id, workflow_id, run_id, status, note)
        SELECT plan_id, workflow_id, run_id, 'open', :note FROM opened
        UNION ALL
        SELECT plan_id, workflow_id, run_id, 'dismissed', 'its plan no longer runs; a newer one took its place'
        FROM replaced
    )
    SELECT EXISTS (SELECT FROM opened) AS opened, EXISTS (SELECT FROM known) AS known,
        EXISTS (SELECT FROM newer) AS newer
""")

_TAKE_UP = text("""
    UPDATE brainops.incidents AS i
    SET workflow_id = CASE WHEN closed_at IS NULL THEN :workflow ELSE workflow_id END,
        run_id = CASE WHEN closed_at IS NULL THEN :run ELSE run_id END
    WHERE plan_id = :plan
    RETURNING status,
        (SELECT coalesce(max(step), 0) FROM brainops.effects e WHERE e.plan_id = i.plan_id) AS last_step,
        (SELECT jsonb_agg(jsonb_build_object('remedy', remedy, 'helped', helped) ORDER BY first_step)
            FROM brainops.remediations r WHERE r.plan_id = i.plan_id) AS attempts,
        (SELECT to_jsonb(a) FROM brainops.approvals a
            WHERE a.plan_id = i.plan_id AND a.status = 'pending' ORDER BY created_at DESC LIMIT 1) AS approval
""")

_SAVE_EVIDENCE = text("""
    UPDATE brainops.incidents
    SET evidence = CAST(:evidence AS jsonb), summary = CAST(:summary AS jsonb), headline = :headline,
        signature = :signature, signature_description = :description
    WHERE plan_id = :plan
    RETURNING plan_id
""")

_RECORD_ATTEMPT = text("""
    INSERT INTO brainops.remediations
        (plan_id, first_step, workflow_id, run_id, service, check_name, signature, remedy, action_class, helped,
         harmful, undone, cause, summary, verify_seconds)
    VALUES (:plan, :first_step, :workflow, :run, :service, :check, :signature, :remedy, :action_class, :helped,
        :harmful, :undone, :cause, :summary, :verify_seconds)
    ON CONFLICT (tenant_id, plan_id, first_step) DO UPDATE
    SET helped = excluded.helped, harmful = excluded.harmful, undone = excluded.undone, summary = excluded.summary,
        verify_seconds = excluded.verify_seconds
""")

# A closed incident keeps its status; repeating the update that closed it changes nothing and is no mistake. A line that
# equals the last one is the repetition of a call whose answer was lost.
_UPDATE = text("""
    WITH changed AS (
        UPDATE brainops.incidents
        SET status = :status, cause = coalesce(:cause, cause), remedy = coalesce(:remedy, remedy),
            signature = coalesce(:signature, signature),
            signature_description = coalesce(:description, signature_description),
            verified_at = CASE WHEN :status = 'resolved' THEN coalesce(verified_at, clock_timestamp()) ELSE verified_at END,
            closed_at = CASE WHEN :closing THEN coalesce(closed_at, clock_timestamp()) END
        WHERE plan_id = :plan AND (closed_at IS NULL OR status = :status)
        RETURNING plan_id
    ), line AS (
        INSERT INTO brainops.incident_events (plan_id, workflow_id, run_id, status, note)
        SELECT plan_id, :workflow, :run, :status, :note FROM changed
        WHERE NOT EXISTS (
            SELECT FROM (
                SELECT status, note FROM brainops.incident_events WHERE plan_id = :plan ORDER BY id DESC LIMIT 1
            ) AS last
            WHERE last.status = :status AND last.note = :note
        )
    ), parts AS (
        UPDATE brainops.incidents SET verified_at = clock_timestamp()
        WHERE :closing AND root_plan = :plan AND plan_id <> :plan AND verified_at IS NULL
            AND EXISTS (SELECT FROM changed)
    ), questions AS (
        UPDATE brainops.approvals SET status = 'withdrawn', decided_at = clock_timestamp()
        WHERE :closing AND plan_id = :plan AND status = 'pending' AND EXISTS (SELECT FROM changed)
    )
    SELECT status AS before, EXISTS (SELECT FROM changed) AS changed FROM brainops.incidents WHERE plan_id = :plan
""")

_MARK_ARCHIVED = text("""
    UPDATE brainops.incidents SET history_key = :key WHERE plan_id = :plan AND run_id = :run
""")


class IncidentStore(IncidentReader, ApprovalStore):
    """Writes and reads incidents, their timelines, attempts and approvals."""

    async def open(self, plan: PlanRef, observation: Observation) -> Opening:
        """Insert the incident's row, or take it up again where it stands: with what was tried, asked and begun.

        A duplicate is an observation that is no newer than a closed incident of the same check.
        """
        values = _plan_values(plan) | {
            "host": plan.host,
            "service": plan.service,
            "check": plan.check,
            "seq": observation.seq,
            "observation": to_json(observation),
            "note": f"{plan.check} fails: {observation.detail or observation.reason.value}",
        }
        async with self._database.transaction() as connection:
            found = (await connection.execute(_OPEN, values)).mappings().one()
            if found["opened"]:
                return Opening(plan_id=plan.plan_id)
            if found["newer"] and not found["known"]:
                return Opening(plan_id=plan.plan_id, duplicate=True, status=IncidentStatus.DISMISSED)
            return await self._take_up(connection, plan)

    async def save_evidence(self, plan_id: UUID, evidence: Evidence, summary: EvidenceSummary) -> None:
        """Keep what was captured; a later capture replaces it. Raises NotFoundError."""
        values = {
            "plan": plan_id,
            "evidence": to_json(evidence),
            "summary": to_json(summary),
            "headline": summary.headline,
            "signature": summary.signature.key,
            "description": summary.signature.description,
        }
        async with self._database.transaction() as connection:
            if (await connection.execute(_SAVE_EVIDENCE, values)).first() is None:
                raise _unknown(plan_id)

    async def decide_root(
        self, request: RootRequest, dependencies: Dependencies, recurrence: Recurrence, now: datetime
    ) -> Root:
        """What the incident follows from, decided once, with the incidents that it absorbs marked so.

        `dependencies`: for each service those that it depends on directly. `recent_openings` are the earlier root
        incidents of this service and signature within `recurrence.within` before `now`. Raises NotFoundError,
        ConflictError when the incident is closed.
        """
        return await decide_root(self._database, request, dependencies, recurrence, now)

    async def record_attempt(self, record: AttemptRecord) -> None:
        """Keep how a remedy went; the same attempt (plan and first step) again brings it up to date."""
        plan = record.plan
        values = _plan_values(plan) | {
            "first_step": record.first_step,
            "service": plan.service,
            "check": plan.check,
            "signature": record.signature.key,
            "remedy": record.remedy,
            "action_class": record.action_class.value,
            "helped": record.helped,
            "harmful": record.harmful,
            "undone": record.undone,
            "cause": record.cause,
            "summary": record.summary,
            "verify_seconds": record.verify_seconds,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_RECORD_ATTEMPT, values)

    async def update(self, update: IncidentUpdate) -> None:
        """Change an incident's status and add a line to its timeline. Closing withdraws its pending question.

        Raises NotFoundError, and ConflictError when it is closed with another status already.
        """
        signature = update.signature
        values = _plan_values(update.plan) | {
            "status": update.status.value,
            "closing": update.status.closed,
            "note": update.note,
            "cause": update.cause,
            "remedy": update.remedy,
            "signature": signature.key if signature else None,
            "description": signature.description if signature else None,
        }
        async with self._database.transaction() as connection:
            if update.approval is not None:
                await write_approval(connection, update.approval)
            found = (await connection.execute(_UPDATE, values)).mappings().first()
            if found is None:
                raise _unknown(update.plan.plan_id)
            if not found["changed"]:
                raise ConflictError(
                    f"incident {update.plan.plan_id} is {found['before']} already and cannot become {update.status.value}"
                )

    async def mark_archived(self, plan_id: UUID, run_id: str, object_key: str) -> None:
        """Note where the workflow history of a closed incident is kept; an empty key: there is none to keep."""
        values = {"plan": plan_id, "run": run_id, "key": object_key}
        async with self._database.transaction() as connection:
            await connection.execute(_MARK_ARCHIVED, values)

    async def _take_up(self, connection: AsyncConnection, plan: PlanRef) -> Opening:
        row = (await connection.execute(_TAKE_UP, _plan_values(plan))).mappings().one()
        return Opening(
            plan_id=plan.plan_id,
            next_step=row["last_step"] + 1,
            attempts=tuple(Attempt.model_validate(attempt) for attempt in row["attempts"] or ()),
            pending_approval=read_approval(row["approval"]) if row["approval"] else None,
            status=IncidentStatus(row["status"]),
        )


def _plan_values(plan: PlanRef) -> dict[str, Any]:  # bind values are of many types
    return {"plan": plan.plan_id, "workflow": plan.workflow_id, "run": plan.run_id}


def _unknown(plan_id: UUID) -> NotFoundError:
    return NotFoundError(f"there is no incident {plan_id}; `brainops incidents` lists them")
