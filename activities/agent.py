"""An agent's life, as its row."""

from temporalio import activity

from activities.recording import recorded
from brainops.contracts.agent import AgentState
from brainops.crew.store import CrewStore


class AgentRecords:
    """What agents' workflows write."""

    def __init__(self, crew: CrewStore) -> None:
        self._crew = crew

    @activity.defn
    @recorded("save_agent")
    async def save_agent(self, state: AgentState) -> None:
        """Mirror the state to the agent's row, from which hosts enforce it."""
        await self._crew.save(state)
