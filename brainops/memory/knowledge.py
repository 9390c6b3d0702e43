"""The knowledge base: what helped against a fault, known again by its signature, or by one that is like it."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, TypeAdapter
from sqlalchemy import RowMapping, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from brainops.contracts.action import Action
from brainops.contracts.base import Contract, ShortText
from brainops.contracts.incident import Knowledge, KnownRemedy, PlanRef, Signature
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.errors import ConflictError, NotFoundError
from brainops.memory.similarity import SIMILAR_ENOUGH, Likeness, family, similarity
from brainops.memory.tables import knowledge_base

MOST_COMPARED = 300
"""Entries of one kind of fault that a new signature is compared with: the last used ones, and those of people."""

MOST_ALIKE = 3
"""Similar entries whose remedies are taken over."""

_PAGE = 500

_ACTIONS: TypeAdapter[tuple[Action, ...]] = TypeAdapter(tuple[Action, ...])

_COUNTS = """
    SELECT remedy, sum(helped)::int AS successes, sum(not_helped)::int AS failures FROM (
        SELECT remedy, helped::int AS helped, (NOT helped)::int AS not_helped FROM brainops.remediations
        WHERE signature = :signature AND (CAST(:service AS text) IS NULL OR service = :service)
        UNION ALL
        SELECT remedy, told_successes, told_failures FROM brainops.knowledge_base
        WHERE problem_signature = :signature AND told_successes + told_failures > 0
    ) AS seen GROUP BY remedy
"""

_LOOKUP = text(f"""
    SELECT coalesce(known.usage_count, 0) AS usage_count, tried.remedies
    FROM (SELECT 1) AS one
    LEFT JOIN brainops.knowledge_base AS known ON known.problem_signature = :signature
    LEFT JOIN LATERAL (SELECT jsonb_agg(to_jsonb(counted)) AS remedies FROM ({_COUNTS}) AS counted) AS tried
        ON known.retired_at IS NULL
""")  # noqa: S608 - made of constants

_ALIKE = text("""
    SELECT problem_signature, kind, check_kind, reason, ending, template, facts FROM brainops.knowledge_base
    WHERE kind = :kind AND retired_at IS NULL AND problem_signature <> :signature
    ORDER BY last_used DESC LIMIT :limit
""")

_COUNTS_OF = text("""
    SELECT signature, remedy, sum(helped)::int AS successes, sum(not_helped)::int AS failures FROM (
        SELECT signature, remedy, helped::int AS helped, (NOT helped)::int AS not_helped FROM brainops.remediations
        WHERE signature = ANY(:signatures)
        UNION ALL
        SELECT problem_signature, remedy, told_successes, told_failures FROM brainops.knowledge_base
        WHERE problem_signature = ANY(:signatures) AND told_successes + told_failures > 0
    ) AS seen GROUP BY signature, remedy
""")

# `usage_count` counts incidents: what several attempts of one plan teach is one use. What a person or another
# installation wrote down is theirs: only its use is counted. A retired entry stays as it was.
_LEARN_GOOD = text("""
    INSERT INTO brainops.knowledge_base AS known
        (problem_signature, problem_description, solution, remedy, actions, success_rate, usage_count, last_used,
         plan_id, workflow_id, run_id, kind, check_kind, reason, ending, template, facts)
    VALUES (:signature, :description, :solution, :remedy, CAST(:actions AS jsonb), 1, 1, clock_timestamp(),
        :plan, :workflow, :run, :kind, :check_kind, :reason, :ending, :template, CAST(:facts AS jsonb))
    ON CONFLICT (tenant_id, problem_signature) DO UPDATE
    SET (problem_description, solution, remedy, actions) = (
            SELECT excluded.problem_description, excluded.solution, excluded.remedy, excluded.actions
            WHERE known.origin = 'learned'
            UNION ALL
            SELECT known.problem_description, known.solution, known.remedy, known.actions
            WHERE known.origin <> 'learned'
        ),
        last_used = excluded.last_used,
        usage_count = known.usage_count + CASE WHEN known.plan_id = excluded.plan_id THEN 0 ELSE 1 END,
        plan_id = excluded.plan_id, workflow_id = excluded.workflow_id, run_id = excluded.run_id,
        ending = excluded.ending, template = excluded.template, facts = excluded.facts
    WHERE known.retired_at IS NULL
""")

_LEARN_BAD = text("""
    UPDATE brainops.knowledge_base
    SET last_used = clock_timestamp(), usage_count = usage_count + CASE WHEN plan_id = :plan THEN 0 ELSE 1 END,
        plan_id = :plan, workflow_id = :workflow, run_id = :run
    WHERE problem_signature = :signature AND retired_at IS NULL
""")

_RATE = text("""
    UPDATE brainops.knowledge_base AS known
    SET success_rate = coalesce((
        SELECT avg(helped::int) FROM brainops.remediations r
        WHERE r.signature = known.problem_signature AND r.remedy = known.remedy
    ), success_rate)
    WHERE problem_signature = :signature AND retired_at IS NULL
""")

_TELL = """
    INSERT INTO brainops.knowledge_base AS known
        (problem_signature, problem_description, solution, remedy, actions, success_rate, usage_count,
         kind, check_kind, reason, ending, template, facts, origin, author, told_successes, told_failures)
    VALUES (:signature, :description, :solution, :remedy, '[]'::jsonb, :rate, 0,
        :kind, :check_kind, :reason, :ending, :template, CAST(:facts AS jsonb), :origin, :author, :successes, :failures)
    ON CONFLICT (tenant_id, problem_signature) DO {otherwise}
    RETURNING problem_signature
"""
_ADD = text(_TELL.format(otherwise="NOTHING"))
_REPLACE = text(
    _TELL.format(
        otherwise="""UPDATE
    SET problem_description = excluded.problem_description, solution = excluded.solution, remedy = excluded.remedy,
        actions = excluded.actions, success_rate = excluded.success_rate, ending = excluded.ending,
        template = excluded.template, facts = excluded.facts, origin = excluded.origin, author = excluded.author,
        told_successes = excluded.told_successes, told_failures = excluded.told_failures"""
    )
)

_RETIRE = text("""
    UPDATE brainops.knowledge_base
    SET retired_at = CASE WHEN :retired THEN clock_timestamp() END, retired_reason = :reason
    WHERE problem_signature = :signature AND (retired_at IS NULL) = :retired
    RETURNING problem_signature
""")

_PRESENT = text("""
    SELECT problem_signature FROM brainops.knowledge_base WHERE problem_signature = ANY(:signatures)
""")

Origin = Literal["learned", "person", "import"]


class KnowledgeRow(Contract):
    """What is known of one fault."""

    problem_signature: str
    problem_description: str
    solution: str
    """What helped last, as a sentence."""
    remedy: str
    actions: tuple[Action, ...]
    success_rate: float
    """Share of the attempts with `remedy` against this signature that helped, 0 to 1; before the first, as told."""
    usage_count: int
    """Incidents of this signature that were dealt with."""
    last_used: datetime | None = None
    """None: a person or another installation told it, and it has not been met here yet."""
    created_at: datetime
    plan_id: UUID | None = None
    """The incident that used it last."""
    workflow_id: str = ""
    run_id: str = ""
    ending: str = ""
    template: str = ""
    """The log line without its values, by which similar faults are found."""
    facts: tuple[str, ...] = ()
    origin: Origin = "learned"
    author: str = ""
    """Who told it, such as `person:mira`; empty for what was learned."""
    retired_at: datetime | None = None
    """Not used any more since then."""
    retired_reason: str = ""


class ToldKnowledge(Contract):
    """What a person or another installation knows of a fault: a remedy, and how often it was seen to help."""

    signature: Signature
    remedy: str
    solution: ShortText
    successes: int = Field(default=1, ge=0)
    failures: int = Field(default=0, ge=0)


class Imported(Contract):
    """What became of the entries of an import, by their signatures."""

    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Were known here already, and stayed as they were."""


class KnowledgeStore:
    """Reads and writes `knowledge_base`; counts `remediations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lookup(self, signature: Signature, service: str | None = None) -> Knowledge:
        """What was tried against a signature, by how often it helped; of one service only if named.

        Where nothing is known to have helped against it, similar signatures are asked, too: what was tried against
        those is marked with theirs. A remedy that was tried against this very one is known by that alone.
        """
        async with self._database.transaction() as connection:
            values = {"signature": signature.key, "service": service}
            row = (await connection.execute(_LOOKUP, values)).mappings().one()
            remedies = ranked([KnownRemedy.model_validate(remedy) for remedy in row["remedies"] or ()])
            best = remedies[0].remedy if remedies and remedies[0].successes else ""
            if not best:
                tried = {remedy.remedy for remedy in remedies}
                similar = await self._similar(connection, signature)
                remedies += tuple(remedy for remedy in similar if remedy.remedy not in tried)
        return Knowledge(signature=signature.key, remedies=remedies, best=best, usage_count=row["usage_count"])

    async def _similar(self, connection: AsyncConnection, signature: Signature) -> list[KnownRemedy]:
        """What was tried against the most similar signatures: each remedy once, by the most similar of them."""
        wanted = Likeness.of(signature)
        values = {"kind": family(wanted.kind), "signature": signature.key, "limit": MOST_COMPARED}
        rows = (await connection.execute(_ALIKE, values)).mappings().all()
        scored = ((similarity(wanted, _likeness(row)), row["problem_signature"]) for row in rows)
        alike = {key: score for score, key in sorted(scored, reverse=True)[:MOST_ALIKE] if score >= SIMILAR_ENOUGH}
        if not alike:
            return []
        counts = (await connection.execute(_COUNTS_OF, {"signatures": list(alike)})).mappings().all()
        found: dict[str, KnownRemedy] = {}
        for row in sorted(counts, key=lambda row: -alike[row["signature"]]):
            values = {"like": row["signature"], "similarity": alike[row["signature"]]}
            found.setdefault(row["remedy"], KnownRemedy.model_validate({**row, **values}))
        return sorted(found.values(), key=lambda remedy: (-remedy.similarity, remedy.remedy))

    async def learn(
        self, plan: PlanRef, signature: Signature, remedy: str, actions: list[Action], cause: str, helped: bool
    ) -> None:
        """Bring the knowledge of a signature up to date with an attempt that is recorded already.

        What helped becomes the known solution, also where it was known from a similar signature: this one then has an
        entry of its own. What did not lowers the known one's rate if it was that, and teaches no solution. The same
        call again changes nothing but the time.
        """
        values = _parts(signature) | {
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

    async def add(self, told: ToldKnowledge, author: str) -> None:
        """Keep what a person knows. Raises ConflictError when something is known of the signature already."""
        async with self._database.transaction() as connection:
            if (await connection.execute(_ADD, _told(told, "person", author))).first() is None:
                key = told.signature.key
                raise ConflictError(f"something is known of {key} already; change it: brainops knowledge edit {key}")

    async def replace(self, told: ToldKnowledge, author: str) -> None:
        """Put what a person says in the place of what is known; what was counted here still counts."""
        async with self._database.transaction() as connection:
            await connection.execute(_REPLACE, _told(told, "person", author))

    async def take_over(self, entries: Sequence[ToldKnowledge], author: str, *, replace: bool) -> Imported:
        """Keep all of `entries`, or none if one fails. `replace`: also those of which something is known already."""
        keys = [entry.signature.key for entry in entries]
        async with self._database.transaction() as connection:
            rows = await connection.execute(_PRESENT, {"signatures": keys})
            present = set(rows.scalars())
            wanted = [entry for entry in entries if replace or entry.signature.key not in present]
            if wanted:
                await connection.execute(_REPLACE, [_told(entry, "import", author) for entry in wanted])
        old = tuple(key for key in keys if key in present)
        return Imported(
            added=tuple(key for key in keys if key not in present),
            replaced=old if replace else (),
            kept=() if replace else old,
        )

    async def retire(self, signature_key: str, reason: str) -> None:
        """Keep an entry, but never use it again. Raises NotFoundError, ConflictError."""
        await self._set_retired(signature_key, retired=True, reason=reason)

    async def bring_back(self, signature_key: str) -> None:
        """Use a retired entry again. Raises NotFoundError, ConflictError."""
        await self._set_retired(signature_key, retired=False, reason="")

    async def _set_retired(self, signature_key: str, *, retired: bool, reason: str) -> None:
        values = {"signature": signature_key, "retired": retired, "reason": reason}
        async with self._database.transaction() as connection:
            changed = (await connection.execute(_RETIRE, values)).first()
        if changed is None:
            await self.get(signature_key)
            raise ConflictError(f"{signature_key} is {'retired already' if retired else 'not retired'}")

    async def get(self, signature_key: str) -> KnowledgeRow:
        """One entry, retired or not. Raises NotFoundError."""
        query = select(knowledge_base).where(knowledge_base.c.problem_signature == signature_key)
        rows = await self._database.read(query)
        if not rows:
            raise NotFoundError(f"nothing is known of {signature_key!r}; `brainops knowledge` lists what is")
        return _entry(rows[0])

    async def list(self, limit: int, *, retired: bool = False) -> list[KnowledgeRow]:
        """Entries, those that were never used and then the last used first, at most `limit`; the retired ones too?"""
        query = select(knowledge_base).order_by(knowledge_base.c.last_used.desc()).limit(limit)
        if not retired:
            query = query.where(knowledge_base.c.retired_at.is_(None))
        return [_entry(row) for row in await self._database.read(query)]

    async def all_told(self) -> AsyncGenerator[ToldKnowledge]:
        """Every entry that is not retired with the counts of its remedy, by signature, page by page."""
        after = ""
        while True:
            rows = await self._database.read(_EXPORT, {"after": after, "limit": _PAGE})
            for row in rows:
                yield _as_told(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1]["problem_signature"]


_EXPORT = text("""
    SELECT known.*, told_successes + count(tried) FILTER (WHERE tried.helped) AS successes,
        told_failures + count(tried) FILTER (WHERE NOT tried.helped) AS failures
    FROM brainops.knowledge_base AS known
    LEFT JOIN brainops.remediations AS tried
        ON tried.signature = known.problem_signature AND tried.remedy = known.remedy
    WHERE known.retired_at IS NULL AND known.problem_signature > :after
    GROUP BY known.tenant_id, known.problem_signature
    ORDER BY known.problem_signature LIMIT :limit
""")


def ranked(remedies: Sequence[KnownRemedy]) -> tuple[KnownRemedy, ...]:
    """Best first, by the mean of the Beta(1, 1) posterior of the rate of success; of equals the more often tried."""

    def rate(remedy: KnownRemedy) -> tuple[float, int, str]:
        tried = remedy.successes + remedy.failures
        return -(remedy.successes + 1) / (tried + 2), -tried, remedy.remedy

    return tuple(sorted(remedies, key=rate))


def _parts(signature: Signature) -> dict[str, Any]:
    """The columns that a signature fills. Any: the values of a statement."""
    likeness = Likeness.of(signature)
    return {
        "signature": signature.key,
        "description": signature.description,
        "kind": family(likeness.kind),
        "check_kind": likeness.check,
        "reason": likeness.reason,
        "ending": likeness.ending,
        "template": likeness.template,
        "facts": to_json(list(likeness.facts)),
    }


def _told(told: ToldKnowledge, origin: Origin, author: str) -> dict[str, Any]:
    """The columns of an entry that was told. Any: as above."""
    trials = told.successes + told.failures
    return _parts(told.signature) | {
        "solution": told.solution,
        "remedy": told.remedy,
        "rate": told.successes / trials if trials else 0.0,
        "origin": origin,
        "author": author,
        "successes": told.successes,
        "failures": told.failures,
    }


def _likeness(row: RowMapping) -> Likeness:
    return Likeness.model_validate({**row, "check": row["check_kind"]})


def _as_told(row: RowMapping) -> ToldKnowledge:
    signature = Signature.model_validate(
        {**row, "key": row["problem_signature"], "description": row["problem_description"]}
    )
    return ToldKnowledge.model_validate({**row, "signature": signature})


def _entry(row: RowMapping) -> KnowledgeRow:
    return KnowledgeRow.model_validate({**row, "actions": _ACTIONS.validate_python(row["actions"])})
