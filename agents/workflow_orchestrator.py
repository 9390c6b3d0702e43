"""WorkflowOrchestrator: what runs when, after what, with what result."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.WORKFLOW_ORCHESTRATOR,
    purpose="Decides what runs when, after what, and with what result.",
    capabilities=(
        "run pipelines and schedules",
        "review each day and week",
    ),
    job="its work arrives with pipelines and schedules",
)
