"""The agents' rows: what their workflows mirror, and what hosts enforce."""

from sqlalchemy import select, text

from brainops.contracts.agent import AgentState
from brainops.crew.tables import agents
from brainops.database.engine import Database
from brainops.database.values import to_json

_SAVE = text("""
    INSERT INTO brainops.agents (name, enabled, paused, paused_reason, strategy_version, state, updated_at)
    VALUES (:name, :enabled, :paused, :paused_reason, :strategy_version, CAST(:state AS jsonb), clock_timestamp())
    ON CONFLICT (tenant_id, name) DO UPDATE
    SET enabled = excluded.enabled, paused = excluded.paused, paused_reason = excluded.paused_reason,
        strategy_version = excluded.strategy_version, state = excluded.state, updated_at = excluded.updated_at
""")


class CrewStore:
    """Reads and writes `agents`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, state: AgentState) -> None:
        """Keep the state of an agent, in place of what was kept of it."""
        values = {
            "name": state.name,
            "enabled": state.enabled,
            "paused": state.paused,
            "paused_reason": state.paused_reason,
            "strategy_version": state.strategy_version,
            "state": to_json(state),
        }
        await self._database.write(_SAVE, values)

    async def load(self, name: str) -> AgentState | None:
        """The state of an agent; None when it was never kept."""
        rows = await self._database.read(select(agents.c.state).where(agents.c.name == name))
        return AgentState.model_validate(rows[0]["state"]) if rows else None

    async def all(self) -> list[AgentState]:
        """Every agent, by name."""
        rows = await self._database.read(select(agents.c.state).order_by(agents.c.name))
        return [AgentState.model_validate(row["state"]) for row in rows]
