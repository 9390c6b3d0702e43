"""ContextKeeper: what to keep, what to restore, what repeats."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.CONTEXT_KEEPER,
    purpose="Decides what of the past is kept, what is restored, and what repeats.",
    capabilities=(
        "keep conversations and decisions",
        "restore the context of an interrupted session",
        "see what repeats",
    ),
    job="its work arrives with conversations and long-term memory",
)
