"""The seven agents that ship."""

from agents import (
    code_reviewer,
    context_keeper,
    customer_success,
    database_guardian,
    deployment_manager,
    system_monitor,
    workflow_orchestrator,
)
from agents.charter import Charter
from brainops.contracts.agent import AgentName, AgentState

CHARTERS: dict[AgentName, Charter] = {
    module.CHARTER.name: module.CHARTER
    for module in (
        system_monitor,
        deployment_manager,
        database_guardian,
        context_keeper,
        workflow_orchestrator,
        code_reviewer,
        customer_success,
    )
}
"""In the order in which people read them."""


def charter(name: AgentName) -> Charter:
    """The charter of an agent that ships."""
    return CHARTERS[name]


def first_state(name: AgentName) -> AgentState:
    """The state in which an agent's life begins."""
    appointed = CHARTERS[name]
    return AgentState(name=name, has_job=appointed.has_job, job=appointed.job, budget=appointed.budget)
