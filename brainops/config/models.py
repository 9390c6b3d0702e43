"""`brainops.yaml`: what a person may say, and what holds when nothing is said.

Unknown keys are refused everywhere. Relative paths are relative to the folder of the file. Values of
`environment` may name variables of BrainOps' own environment as `${NAME}`: secrets are never written in the file.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from brainops.config.checks import PROCESS_CHECK, Check, CheckConfig, ProcessCheck
from brainops.config.maintenance import MaintenanceWindow
from brainops.config.memory import MemorySettings
from brainops.config.notify import Notify
from brainops.config.quantities import ByteSize, Duration
from brainops.config.runs import CommandRun, ExternalRun, HostRun, ProcessRun, Run
from brainops.config.section import Argument, Name, Section
from brainops.contracts.agent import ActionClass, AgentName, Autonomy
from brainops.contracts.check import Reason

LOCAL_HOST = "local"
"""Name of the host that `brainops up` runs on."""


class Limits(Section):
    """What a service may use. More is a fault."""

    memory: ByteSize | None = None
    """Resident memory of the process and its descendants."""
    memory_ceiling: ByteSize | None = None
    """How far BrainOps may raise the limit that the kernel enforces for a container or unit. Default: not at all."""
    file_descriptors: int | None = Field(default=None, ge=1)
    """Open file descriptors of the main process."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the process and its descendants."""
    children: int | None = Field(default=None, ge=0)
    """Descendants of the process."""
    disk: ByteSize | None = None
    """On a service of kind host: what images and build caches of the Docker engine may take before they are pruned."""
    journal: ByteSize | None = None
    """On a service of kind host: what the machine's journal may be shrunk to."""


class DeclaredFile(Section):
    """A file that the service needs. While the service is healthy, BrainOps keeps a copy of it."""

    path: Path
    """The file."""


class DeclaredFolder(Section):
    """A folder that the service writes to. A missing one is made anew; a full one is cleaned."""

    path: Path
    """The folder."""
    limit: ByteSize | None = None
    """More bytes than this is a fault's likely cause."""
    target: ByteSize | None = None
    """Cleaning stops at this. Default: half of `limit`."""
    clean: tuple[Argument, ...] = ()
    """Globs of files that may be deleted, oldest first. None may be if this is empty."""

    @property
    def target_bytes(self) -> int:
        """The size that cleaning aims at."""
        if self.target is not None:
            return self.target
        return (self.limit or 0) // 2


class DeclaredLog(Section):
    """A log that the service writes by itself, and that BrainOps may rotate when the disk runs full."""

    path: Path
    """The file."""
    limit: ByteSize = 100_000_000
    """A longer one is rotated: compressed beside it, and begun anew."""
    keep: int = Field(default=5, ge=1, le=100)
    """How many rotated ones are kept."""


class DeclaredCommand(Section):
    """A command of the user's that can mend something."""

    run: tuple[Argument, ...] = Field(min_length=1)
    """Program and arguments, run in the folder of the service. No shell reads it."""
    undo: tuple[Argument, ...] = ()
    """Run to take it back when it did not help. Empty: nothing is to be taken back."""
    helps_with: tuple[Reason, ...] = ()
    """Failures it is for, such as `slow`. Empty: any, after everything cheaper."""
    restart: bool = False
    """Restart the service after it."""
    timeout: Duration = Field(default=timedelta(seconds=60), le=timedelta(hours=1))
    """The command is ended after this and counts as failed; at most 1h."""


class Remedies(Section):
    """Which remedies may be used. Default: all that apply."""

    only: tuple[Name, ...] = ()
    """Nothing but these. Empty: all that apply."""
    never: tuple[Name, ...] = ()
    """None of these."""


class Recurrence(Section):
    """Incidents of one signature within a window from which a person must look."""

    incidents: int = Field(default=3, ge=2)
    """This one, counting all of the window, goes to a person."""
    within: Duration = timedelta(minutes=10)
    """The window."""


class Flapping(Section):
    """A check that turns too often is one incident until it has been steady, and not one for each turn."""

    turns: int = Field(default=10, ge=3, le=10_000)
    """From so many turns within the window on; a service goes down and up again with two."""
    within: Duration = Field(default=timedelta(minutes=10), ge=timedelta(seconds=1), le=timedelta(days=1))
    """The window. The check is believed again when it has not turned for half of it."""


AutonomyByAction = dict[ActionClass, Autonomy]


class Service(Section):
    """One service."""

    host: Name = LOCAL_HOST
    """The machine that it runs on."""
    run: Run
    """How it is started and stopped."""
    checks: dict[Name, Check] = Field(default_factory=dict)
    """How it is looked at, by name. The process check is there without being named, where there is a process."""
    depends_on: tuple[Name, ...] = ()
    """Services that it needs. While one of them fails, what fails here belongs to that incident."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """Ports that the service listens on; those of its checks' loopback URLs are known without being named."""
    limits: Limits = Limits()
    """What it may use."""
    files: tuple[DeclaredFile, ...] = ()
    """Files that it needs."""
    folders: tuple[DeclaredFolder, ...] = ()
    """Folders that it writes to."""
    logs: tuple[DeclaredLog, ...] = ()
    """Logs that it writes by itself and that may be rotated."""
    priority: Literal["normal", "low"] = "normal"
    """`low`: where another service lacks processor or memory, this one may be reniced or stopped for it."""
    commands: dict[Name, DeclaredCommand] = Field(default_factory=dict)
    """Commands of yours that can mend it, by name."""
    may_end: tuple[Argument, ...] = ()
    """Globs over the whole command line of stray processes that may be ended when they hold a port of the service."""
    remedies: Remedies = Remedies()
    """Which remedies may be used."""
    autonomy: Autonomy | AutonomyByAction = Autonomy.OBSERVE
    """One level, or one for each action class (those not named: observe)."""
    escalate_after: Recurrence = Recurrence()
    """The loop breaker: when recurrence goes to a person."""
    flapping: Flapping = Flapping()
    """When a check that passes and fails in turn is one incident."""
    keep_good_after: Duration = timedelta(seconds=30)
    """Healthy for this long, the declared files are kept as known good."""
    recover_within: Duration = Field(default=timedelta(seconds=15), le=timedelta(minutes=10))
    """A remedy that has not made the checks pass by then did not help."""
    approval_expires: Duration = timedelta(minutes=30)
    """An unanswered approval counts as rejected after this."""

    def autonomy_for(self, action: ActionClass) -> Autonomy:
        """The declared autonomy for `action`; `observe` where nothing is said."""
        if isinstance(self.autonomy, dict):
            return self.autonomy.get(action, Autonomy.OBSERVE)
        return self.autonomy

    @property
    def has_process(self) -> bool:
        """Whether there is a process, container or unit that can be looked at."""
        return not isinstance(self.run, HostRun | ExternalRun) and not (
            isinstance(self.run, CommandRun) and not self.run.status and self.run.pid_file is None
        )

    @property
    def may_be_started(self) -> bool:
        """Whether there is something that can be started and stopped."""
        return not isinstance(self.run, HostRun | ExternalRun)

    @property
    def process_run(self) -> ProcessRun:
        """`run` of a service of kind `process`. Raises TypeError for another kind: the caller is an adapter's part."""
        if not isinstance(self.run, ProcessRun):
            raise TypeError(f"a service of kind {self.run.kind} is no process of BrainOps'")
        return self.run

    def all_checks(self) -> dict[str, CheckConfig]:
        """The declared checks and, where there is a process, its check, by name; the process check first."""
        declared: dict[str, CheckConfig] = dict(self.checks)
        if self.has_process and not any(isinstance(check, ProcessCheck) for check in declared.values()):
            return {PROCESS_CHECK: ProcessCheck()} | declared
        return dict(sorted(declared.items(), key=lambda item: not isinstance(item[1], ProcessCheck)))


class AgentBudget(Section):
    """What an agent may spend."""

    daily_usd: float = Field(ge=0)
    """In US dollars a day, on models."""


class AgentOverrides(Section):
    """What differs from an agent's charter."""

    enabled: bool = True
    """False: it only looks on."""
    autonomy: Autonomy = Autonomy.ACT
    """The most that the agent may do for any service."""
    budget: AgentBudget | None = None
    """What it may spend. Default: nothing."""


class Retention(Section):
    """How long probe results are kept: raw, per minute, and per hour for ever."""

    raw_samples: Duration = Field(default=timedelta(days=1), ge=timedelta(hours=1))
    """Each probe; at least 1h."""
    minute_samples: Duration = Field(default=timedelta(days=30), ge=timedelta(days=1))
    """Sums of each minute; at least 1d."""


class Api(Section):
    """Where the HTTP API listens beside its Unix socket."""

    bind: str = "127.0.0.1"
    """Address to listen on. Anything but loopback is reachable from outside."""
    port: int = Field(default=8420, ge=0, le=65535)
    """0: any free port."""


class BrainOpsConfig(Section):
    """The whole file."""

    services: dict[Name, Service] = Field(default_factory=dict)
    """What is watched and healed, by name."""
    agents: dict[AgentName, AgentOverrides] = Field(default_factory=dict[AgentName, AgentOverrides])
    """What differs from the charters of the agents, by name."""
    retention: Retention = Retention()
    """How long probe results are kept."""
    memory: MemorySettings = MemorySettings()
    """What agents and sessions remember, and for how long."""
    api: Api = Api()
    """Where the HTTP API listens."""
    maintenance: tuple[MaintenanceWindow, ...] = ()
    """Times at which services may be down, by calendar."""
    notify: Notify = Notify()
    """Who is told what."""
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = None
    """Address of this BrainOps as people reach it; links in messages begin with it. Default: messages name commands."""
    runbooks: Path | None = None
    """Folder of runbooks (Markdown). Default: none."""
