"""DeploymentManager: may this version go out, how, does it stay."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.DEPLOYMENT_MANAGER,
    purpose="Decides whether a version may go out, how, and whether it stays.",
    capabilities=(
        "judge a release by its evidence",
        "roll out in steps and watch each",
        "take a bad version back",
    ),
    job="its work arrives with deployments",
)
