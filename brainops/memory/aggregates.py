"""What is known of how an agent works: totals, rates, what it costs, which model does what best.

`agent_performance` has a row for each piece of work that was judged; `agent_memory` has one for each agent, made of
those and of its deeds, always anew from what was counted, so that making it twice changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field
from sqlalchemy import RowMapping, select, text

from brainops.contracts.base import Contract
from brainops.database.engine import Database
from brainops.database.values import to_json
from brainops.memory.tier_tables import agent_memory

MOST_PATTERNS = 20
"""Kinds of work of one agent that are told apart: the most frequent."""

MOST_HISTORY = 50
"""Changes of one agent that are kept: the newest."""

ENOUGH_TO_PREFER = 5
"""Pieces of work of one kind that a provider must have done before it is preferred."""

_NOTE = text("""
    INSERT INTO brainops.agent_performance
        (key, agent, task_type, provider, success, response_time_ms, cost, quality_score, at)
    VALUES (:key, :agent, :task_type, :provider, :success, :response_time_ms, :cost, :quality_score, :at)
    ON CONFLICT (tenant_id, key) DO NOTHING
""")

_TOTALS = text("""
    SELECT agent, sum(interactions)::bigint AS interactions, sum(successes)::bigint AS successes,
        sum(costed)::bigint AS costed, sum(cost)::float8 AS cost
    FROM (
        SELECT agent, count(*) AS interactions, count(*) FILTER (WHERE success) AS successes, 0 AS costed, 0 AS cost
        FROM brainops.work_history GROUP BY agent
        UNION ALL
        SELECT agent, count(*), count(*) FILTER (WHERE success), count(cost), coalesce(sum(cost), 0)
        FROM brainops.agent_performance GROUP BY agent
        UNION ALL
        SELECT agent, coalesce((folded->>'interactions')::float8, 0), coalesce((folded->>'successes')::float8, 0),
            coalesce((folded->>'costed')::float8, 0), coalesce((folded->>'cost')::float8, 0)
        FROM brainops.agent_memory
    ) AS counted GROUP BY agent ORDER BY agent
""")

_PATTERNS = text("""
    SELECT agent, pattern, provider, times, successes, milliseconds, cost, quality FROM (
        SELECT *, row_number() OVER (PARTITION BY agent ORDER BY times DESC, pattern, provider) AS place FROM (
            SELECT agent, action AS pattern, '' AS provider, count(*) AS times,
                count(*) FILTER (WHERE success) AS successes, avg(duration_ms) AS milliseconds,
                NULL::float8 AS cost, NULL::float8 AS quality
            FROM brainops.work_history WHERE started_at >= :since GROUP BY agent, action
            UNION ALL
            SELECT agent, task_type, provider, count(*), count(*) FILTER (WHERE success), avg(response_time_ms),
                avg(cost), avg(quality_score)
            FROM brainops.agent_performance WHERE at >= :since GROUP BY agent, task_type, provider
        ) AS counted
    ) AS placed WHERE place <= :most ORDER BY agent, place
""")

_SAVE = text("""
    INSERT INTO brainops.agent_memory AS known
        (agent, total_interactions, success_rate, average_cost, preferred_models, learned_patterns, evolution_history)
    VALUES (:agent, :total_interactions, :success_rate, :average_cost, CAST(:preferred_models AS jsonb),
        CAST(:learned_patterns AS jsonb), CAST(:evolution_history AS jsonb))
    ON CONFLICT (tenant_id, agent) DO UPDATE
    SET total_interactions = excluded.total_interactions, success_rate = excluded.success_rate,
        average_cost = excluded.average_cost, preferred_models = excluded.preferred_models,
        learned_patterns = excluded.learned_patterns, evolution_history = excluded.evolution_history,
        updated_at = clock_timestamp()
""")


class Performance(Contract):
    """How one piece of work went."""

    key: str
    """Names the piece of work: noted twice, it counts once."""
    agent: str
    task_type: str
    success: bool
    at: datetime
    provider: str = ""
    """The model or the rule that did it."""
    response_time_ms: float | None = None
    cost: float | None = None
    """In USD."""
    quality_score: float | None = Field(default=None, ge=0, le=1)


class Pattern(Contract):
    """How often work of one kind was done, and how it went."""

    times: int
    success_rate: float
    milliseconds: float | None = None
    cost: float | None = None
    quality: float | None = None


class AgentMemory(Contract):
    """What is known of how an agent works."""

    agent: str
    total_interactions: int
    """Deeds and judged pieces of work since the beginning."""
    success_rate: float | None
    average_cost: float | None
    """In USD, of those whose cost is known."""
    preferred_models: dict[str, str]
    """Kind of work → the provider that does it best."""
    learned_patterns: dict[str, Pattern]
    """`action`, or `kind of work by provider` → how it went."""
    evolution_history: tuple[dict[str, str], ...]
    """What was preferred otherwise from when on: `at`, `task_type`, `from`, `to`; the newest last."""


class AggregateStore:
    """Reads and writes `agent_performance` and `agent_memory`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note_performance(self, performance: Performance) -> None:
        """Keep how a piece of work went; the same key again changes nothing."""
        await self._database.write(_NOTE, performance.model_dump())

    async def aggregate(self, since: datetime, now: datetime) -> int:
        """Bring every agent's memory up to date; patterns are of what was done from `since` on. Returns how many agents."""
        totals = await self._database.read(_TOTALS)
        known = {one.agent: one for one in await self.all()}
        patterns: dict[str, list[RowMapping]] = {}
        for row in await self._database.read(_PATTERNS, {"since": since, "most": MOST_PATTERNS}):
            patterns.setdefault(row["agent"], []).append(row)
        rows = [_memory(total, patterns.get(total["agent"], []), known.get(total["agent"]), now) for total in totals]
        if rows:
            async with self._database.transaction() as connection:
                await connection.execute(_SAVE, rows)
        return len(rows)

    async def get(self, agent: str) -> AgentMemory | None:
        """What is known of one agent."""
        rows = await self._database.read(select(agent_memory).where(agent_memory.c.agent == agent))
        return AgentMemory.model_validate(dict(rows[0])) if rows else None

    async def all(self) -> list[AgentMemory]:
        """What is known of all agents, by name."""
        rows = await self._database.read(select(agent_memory).order_by(agent_memory.c.agent))
        return [AgentMemory.model_validate(dict(row)) for row in rows]


def preferred(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The best provider of each kind of work: by how often it succeeds, then by quality, then by price.

    `rows`: with `pattern`, `provider`, `times`, `successes`, `quality`, `cost`. Any: values of a row.
    """
    best: dict[str, tuple[tuple[float, float, float, str], str]] = {}
    for row in rows:
        if not row["provider"] or row["times"] < ENOUGH_TO_PREFER:
            continue
        # The mean of the Beta(1, 1) posterior, as for remedies: few tries say little.
        rate = (row["successes"] + 1) / (row["times"] + 2)
        place = (-rate, -(row["quality"] or 0.0), row["cost"] or 0.0, row["provider"])
        best[row["pattern"]] = min(best.get(row["pattern"], (place, row["provider"])), (place, row["provider"]))
    return {pattern: provider for pattern, (_, provider) in sorted(best.items())}


def _memory(
    total: Mapping[Any, Any], rows: Sequence[RowMapping], known: AgentMemory | None, now: datetime
) -> dict[str, Any]:
    """The columns of an agent's memory. Any: the values of a statement."""
    models = preferred([dict(row) for row in rows])
    before = known.preferred_models if known is not None else {}
    history = list(known.evolution_history) if known is not None else []
    history += [
        {"at": now.isoformat(), "task_type": task, "from": before.get(task, ""), "to": provider}
        for task, provider in models.items()
        if before.get(task, "") != provider
    ]
    learned = {
        f"{row['pattern']} by {row['provider']}" if row["provider"] else row["pattern"]: Pattern(
            times=row["times"],
            success_rate=row["successes"] / row["times"],
            milliseconds=row["milliseconds"],
            cost=row["cost"],
            quality=row["quality"],
        )
        for row in rows
    }
    interactions = total["interactions"]
    return {
        "agent": total["agent"],
        "total_interactions": interactions,
        "success_rate": total["successes"] / interactions if interactions else None,
        "average_cost": total["cost"] / total["costed"] if total["costed"] else None,
        # What nobody did lately is still preferred as it was.
        "preferred_models": to_json({**before, **models}),
        "learned_patterns": to_json(learned),
        "evolution_history": to_json(history[-MOST_HISTORY:]),
    }
