"""Agents: their names, how freely they may act, and the state of their durable life."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from brainops.contracts.base import DEFAULT_TENANT, Contract, ShortText


class AgentName(StrEnum):
    """The seven that ship. A user's own agents have further names."""

    SYSTEM_MONITOR = "system_monitor"
    DEPLOYMENT_MANAGER = "deployment_manager"
    DATABASE_GUARDIAN = "database_guardian"
    CONTEXT_KEEPER = "context_keeper"
    WORKFLOW_ORCHESTRATOR = "workflow_orchestrator"
    CODE_REVIEWER = "code_reviewer"
    CUSTOMER_SUCCESS = "customer_success"


class Autonomy(StrEnum):
    """The ladder, lowest first: look on, say what one would do, ask first, do."""

    OBSERVE = "observe"
    SUGGEST = "suggest"
    APPROVE = "approve"
    ACT = "act"

    @property
    def rank(self) -> int:
        """0 (observe) to 3 (act)."""
        return list(Autonomy).index(self)


class ActionClass(StrEnum):
    """What kind of thing an action does; autonomy is granted per class and service."""

    START = "start"
    RESTART = "restart"
    RESTART_DEPENDENCY = "restart_dependency"
    RESTORE_FILES = "restore_files"
    FREE_PORT = "free_port"
    CLEAN_FOLDER = "clean_folder"
    RUN_COMMAND = "run_command"
    AWAIT_SUPERVISOR = "await_supervisor"
    RELOAD = "reload"
    RECREATE = "recreate"
    PRUNE_IMAGES = "prune_images"
    CLEAN_LOGS = "clean_logs"
    END_SESSION = "end_session"
    QUIET_NEIGHBOUR = "quiet_neighbour"
    RAISE_LIMIT = "raise_limit"
    PLUGIN = "plugin"
    """What a package from elsewhere does."""


class Budget(Contract):
    """Money an agent may spend on models in a day, in USD. None: no model is configured, nothing is spent."""

    daily_usd: float | None = Field(default=None, ge=0)
    spent_usd: float = Field(default=0, ge=0)


class Work(Contract):
    """One plan that an agent is carrying out now."""

    workflow_id: str
    summary: ShortText
    since: datetime


class Evolution(Contract):
    """One change of an agent's strategy: what, why, when."""

    at: datetime
    version: int
    change: ShortText


class AutonomyOverride(Contract):
    """Autonomy that differs from the configuration, for one service and action class."""

    service: str
    action_class: ActionClass
    level: Autonomy
    reason: ShortText
    at: datetime
    helpful_in_a_row: int = 0
    """Helpful outcomes since it was set or since the last other outcome."""


class AgentState(Contract):
    """The durable state of an agent, kept by its workflow and mirrored to its row."""

    name: str
    tenant_id: str = DEFAULT_TENANT
    enabled: bool = True
    paused: bool = False
    paused_reason: ShortText = ""
    has_job: bool = False
    """Whether this release gives the agent work; the others say so."""
    job: ShortText = ""
    overrides: tuple[AutonomyOverride, ...] = ()
    budget: Budget = Budget()
    strategy_version: int = 1
    current_work: tuple[Work, ...] = ()
    finished_count: int = 0
    evolution: tuple[Evolution, ...] = ()


class AgentSettings(Contract):
    """What the configuration says of an agent."""

    enabled: bool = True
    daily_usd: float | None = None
    has_job: bool | None = None
    """What this release says of its work, `job` likewise: its life may have begun under an older one. None: as it is."""
    job: ShortText | None = None


class PauseRequest(Contract):
    """Ask an agent to stop (`paused=True`) or go on acting."""

    paused: bool
    reason: ShortText = ""


class WorkReport(Contract):
    """A plan tells its agent that it begins or has ended."""

    work: Work
    finished: bool = False


class OutcomeReport(Contract):
    """How an action ended, for the autonomy ladder. `harmful`: it made things worse, or its undo failed."""

    service: str
    action_class: ActionClass
    harmful: bool
    reason: ShortText = ""
    helped: bool = False
    """It was verified. Neither harmful nor helped: it did nothing for the fault."""
    autonomy: Autonomy = Autonomy.ACT
    """The level under which it was done."""
