"""A charter: what an agent is for, and the most that it may do.

Configuration can take away from a charter and never add to it.
"""

from dataclasses import dataclass, field

from brainops.contracts.agent import ActionClass, AgentName, Autonomy, Budget


@dataclass(frozen=True)
class Charter:
    """What an agent is appointed to."""

    name: AgentName
    purpose: str
    """One sentence: what it decides."""
    capabilities: tuple[str, ...]
    actions: frozenset[ActionClass] = field(default_factory=frozenset[ActionClass])
    """Classes of actions it may ever take. Default: none."""
    autonomy: Autonomy = Autonomy.OBSERVE
    """The most it may be granted. Default: look on."""
    budget: Budget = field(default_factory=Budget)
    """What it may spend on models. Default: nothing."""
    has_job: bool = False
    """Whether this release gives it work."""
    job: str = ""
    """What it does now, or with what its work arrives."""
