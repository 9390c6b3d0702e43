"""The knowledge base: what helped against a fault, known again by its signature."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from pydantic import TypeAdapter
from sqlalchemy import RowMapping, select, text

from brainops.contracts.action import Action
from brainops.contracts.base import Contract
from brainops.contracts.incident import Knowledge, KnownRemedy, PlanRef, Signature
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import NotFoundError
from brainops.memory.tables import knowledge_base

_ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])

_LOOKUP = text("""
    SELECT coalesce((SELECT usage_count FROM brainops.knowledge_base WHERE problem_signature = :signature), 0)
            AS usage_count,
        (SELECT jsonb_agg(jsonb_build_object('remedy', remedy, 'successes', successes, 'failures', failures))
            FROM (
                SELECT remedy, count(*) FILTER (WHERE helped) AS successes, count(*) FILTER (WHERE NOT helped) AS failures
                FROM brainops.remediations
                WHERE signature = :signature AND (CAST(:service AS text) IS NULL OR service = :service)
                GROUP BY remedy
            ) AS tried) AS remedies
""")

# `usage_count` counts incidents: what several attempts of one plan teach is one use.
_LEARN_GOOD = text("""
    INSERT INTO brainops.knowledge_base AS known
        (problem_signature, problem_description, solution, remedy, actions, success_rate, usage_count, last_used,
         plan_id, workflow_id, run_id)
    VALUES (:signature, :description, :solution, :remedy, CAST(:actions AS jsonb), 1, 1, clock_timestamp(),
        :plan, :workflow, :run)
    ON CONFLICT (tenant_id, problem_signature) DO UPDATE
    SET problem_description = excluded.problem_description, solution = excluded.solution, remedy = excluded.remedy,
        actions = excluded.actions, last_used = excluded.last_used,
        usage_count = known.usage_count + CASE WHEN known.plan_id = excluded.plan_id THEN 0 ELSE 1 END,
        plan_id = excluded.plan_id, workflow_id = excluded.workflow_id, run_id = excluded.run_id
""")

_LEARN_BAD = text("""
    UPDATE brainops.knowledge_base
    SET last_used = clock_timestamp(), usage_count = usage_count + CASE WHEN plan_id = :plan THEN 0 ELSE 1 END,
        plan_id = :plan, workflow_id = :workflow, run_id = :run
    WHERE problem_signature = :signature
""")

_RATE = text("""
    UPDATE brainops.knowledge_base AS known
    SET success_rate = coalesce((
        SELECT avg(helped::int) FROM brainops.remediations r
        WHERE r.signature = known.problem_signature AND r.remedy = known.remedy
    ), success_rate)
    WHERE problem_signature = :signature
""")


class KnowledgeRow(Contract):
    """What is known of one fault."""

    problem_signature: str
    problem_description: str
    solution: str
    """What helped last, as a sentence."""
    remedy: str
    actions: tuple[Action, ...]
    success_rate: float
    """Share of the attempts with `remedy` against this signature that helped, 0 to 1."""
    usage_count: int
    """Incidents of this signature that were dealt with."""
    last_used: datetime
    created_at: datetime
    plan_id: UUID
    """The incident that used it last."""
    workflow_id: str
    run_id: str


class KnowledgeStore:
    """Reads and writes `knowledge_base`; counts `remediations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lookup(self, signature_key: str, service: str | None = None) -> Knowledge:
        """What was tried against a signature, by how often it helped; of one service only if named."""
        row = (await self._database.read(_LOOKUP, {"signature": signature_key, "service": service}))[0]
        remedies = ranked([KnownRemedy.model_validate(remedy) for remedy in row["remedies"] or ()])
        best = remedies[0].remedy if remedies and remedies[0].successes else ""
        return Knowledge(signature=signature_key, remedies=remedies, best=best, usage_count=row["usage_count"])

    async def learn(
        self, plan: PlanRef, signature: Signature, remedy: str, actions: list[Action], cause: str, helped: bool
    ) -> None:
        """Bring the knowledge of a signature up to date with an attempt that is recorded already.

        What helped becomes the known solution. What did not lowers the known one's rate if it was that, and teaches
        no solution. The same call again changes nothing but the time.
        """
        values = {
            "signature": signature.key,
            "description": signature.description,
            "solution": f"{cause}: {remedy}" if cause else remedy,
            "remedy": remedy,
            "actions": to_json(actions),
            "plan": plan.plan_id,
            "workflow": plan.workflow_id,
            "run": plan.run_id,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_LEARN_GOOD if helped else _LEARN_BAD, values)
            await connection.execute(_RATE, {"signature": signature.key})

    async def get(self, signature_key: str) -> KnowledgeRow:
        """One entry. Raises NotFoundError."""
        query = select(knowledge_base).where(knowledge_base.c.problem_signature == signature_key)
        rows = await self._database.read(query)
        if not rows:
            raise NotFoundError(f"nothing is known of {signature_key!r}; `brainops knowledge` lists what is")
        return _entry(rows[0])

    async def list(self, limit: int) -> list[KnowledgeRow]:
        """Entries, last used first, at most `limit`."""
        query = select(knowledge_base).order_by(knowledge_base.c.last_used.desc()).limit(limit)
        return [_entry(row) for row in await self._database.read(query)]


def ranked(remedies: Sequence[KnownRemedy]) -> tuple[KnownRemedy, ...]:
    """Best first, by the mean of the Beta(1, 1) posterior of the rate of success; of equals the more often tried."""

    def rate(remedy: KnownRemedy) -> tuple[float, int, str]:
        tried = remedy.successes + remedy.failures
        return -(remedy.successes + 1) / (tried + 2), -tried, remedy.remedy

    return tuple(sorted(remedies, key=rate))


def _entry(row: RowMapping) -> KnowledgeRow:
    return KnowledgeRow.model_validate({**row, "actions": _ACTIONS.validate_python(row["actions"])})
