"""DatabaseGuardian: is this migration safe, is this backup real, what slows us."""

from agents.charter import Charter
from brainops.contracts.agent import AgentName

CHARTER = Charter(
    name=AgentName.DATABASE_GUARDIAN,
    purpose="Decides whether a migration is safe, a backup is real, and what slows the database.",
    capabilities=(
        "judge migrations before they run",
        "take backups and prove that they can be restored",
        "find slow queries and missing indexes",
    ),
    job="its work arrives with backups and migrations",
)
