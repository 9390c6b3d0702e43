"""CodeReviewer: what this change breaks, leaks, forgets."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.CODE_REVIEWER,
    purpose="Decides what a change breaks, leaks or forgets.",
    capabilities=(
        "run linters, tests and secret scanners on a change",
        "comment on what it finds",
    ),
    job="its work arrives with repositories",
)
