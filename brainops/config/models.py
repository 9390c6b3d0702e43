"""`brainops.yaml`: what a person may say, and what holds when nothing is said.

Unknown keys are refused everywhere. Relative paths are relative to the folder of the file. Values of
`environment` may name variables of BrainOps' own environment as `${NAME}`: secrets are never written in the file.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from brainops.config.quantities import ByteSize, Duration
from brainops.contracts.agent import ActionClass, AgentName, Autonomy
from brainops.contracts.check import Reason

LOCAL_HOST = "local"
"""Name of the host that `brainops up` runs on."""

PROCESS_CHECK = "process"
"""Name of the check that every service of kind `process` has, declared or not."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""A name of a service, check or command: lower-case letters, digits, `-` and `_`, at most 63."""

Argument = Annotated[str, StringConstraints(min_length=1)]


class Section(BaseModel):
    """A part of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class ProcessRun(Section):
    """A process that BrainOps starts and keeps running, in a session of its own, beyond BrainOps' own life."""

    kind: Literal["process"] = "process"
    """How the service runs: as a process of its own."""
    command: tuple[Argument, ...] = Field(min_length=1)
    """Program and arguments. No shell reads it."""
    directory: Path = Path()
    """Working directory. Default: the folder of the file."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Added to a small base environment (PATH, HOME, LANG, USER, TZ). `${NAME}` names a variable of BrainOps' own."""
    stop_timeout: Duration = timedelta(seconds=5)
    """From SIGTERM to SIGKILL."""


class CheckTiming(Section):
    """How often a check looks, and when it believes what it sees."""

    interval: Duration = Field(default=timedelta(seconds=1), ge=timedelta(milliseconds=20), le=timedelta(hours=24))
    """From one probe to the next; 20ms to 24h."""
    timeout: Duration = Field(default=timedelta(seconds=1), ge=timedelta(milliseconds=10), le=timedelta(seconds=60))
    """A probe that has no answer by then has failed; 10ms to 60s."""
    fail_after: int = Field(default=2, ge=1, le=1000)
    """Failed probes in a row until the check fails."""
    pass_after: int = Field(default=1, ge=1, le=1000)
    """Good probes in a row until it passes again."""


class HttpCheck(CheckTiming):
    """GET a URL; the answer's status, body and time are judged."""

    kind: Literal["http"] = "http"
    """This check asks over HTTP."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    """The address that is asked, http or https."""
    expect_status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = (200,)
    """Status codes of a good answer."""
    expect_body: str | None = None
    """Text that the first 64 KiB of the body must contain."""
    max_latency: Duration | None = None
    """A slower answer is a failed probe."""


class TcpCheck(CheckTiming):
    """Open a connection and close it."""

    kind: Literal["tcp"] = "tcp"
    """This check opens a connection."""
    host: str = "127.0.0.1"
    """Name or address to connect to."""
    port: int = Field(ge=1, le=65535)
    """Port to connect to."""


class ProcessCheck(CheckTiming):
    """The process lives (its exit is seen at once), is not suspended, and stays inside its limits."""

    kind: Literal["process"] = "process"
    """This check looks at the process itself."""


Check = Annotated[HttpCheck | TcpCheck | ProcessCheck, Field(discriminator="kind")]


class Limits(Section):
    """What a service may use. More is a fault."""

    memory: ByteSize | None = None
    """Resident memory of the process and its descendants."""


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


AutonomyByAction = dict[ActionClass, Autonomy]


class Service(Section):
    """One service."""

    host: Name = LOCAL_HOST
    """The machine that it runs on."""
    run: ProcessRun
    """How it is started and stopped."""
    checks: dict[Name, Check] = Field(default_factory=dict)
    """How it is looked at, by name. The process check is there without being named."""
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

    def all_checks(self) -> dict[str, HttpCheck | TcpCheck | ProcessCheck]:
        """The declared checks and the process check, by name; the process check first."""
        declared: dict[str, HttpCheck | TcpCheck | ProcessCheck] = dict(self.checks)
        if not any(isinstance(check, ProcessCheck) for check in declared.values()):
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
    api: Api = Api()
    """Where the HTTP API listens."""
