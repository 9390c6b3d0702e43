"""CustomerSuccess: who is stuck, what to answer, whom to tell."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.CUSTOMER_SUCCESS,
    purpose="Decides which customer is stuck, what to answer, and whom to tell.",
    capabilities=(
        "notice customers in trouble",
        "draft answers",
        "tell the right person",
    ),
    job="its work arrives with customer events and tickets",
)
