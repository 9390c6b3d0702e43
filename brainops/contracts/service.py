"""Services on a host: what runs, and how it ended."""

from datetime import datetime
from enum import StrEnum

from brainops.contracts.base import Contract, ShortText


class ServiceStatus(StrEnum):
    """What the adapter sees of a service's process."""

    RUNNING = "running"
    STOPPED = "stopped"
    """Suspended: every thread is in state T (SIGSTOP, a debugger)."""
    EXITED = "exited"
    """It ran and ended; a zombie counts as exited."""
    NEVER_STARTED = "never_started"
    RESTARTING = "restarting"
    """Its own supervisor (Docker, systemd) is about to start it again."""
    UNSEEN = "unseen"
    """Nobody can look at its process: it is external, or its state cannot be asked for now. Its checks decide."""


class ProcessRecord(Contract):
    """What the shim wrote before `exec`: identifies one start of a service beyond reuse of its pid."""

    pid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks since boot at which the process started."""
    effect_key: str
    command: tuple[str, ...]
    started_at: datetime


class ExitRecord(Contract):
    """What the shim wrote when the process ended."""

    pid: int
    effect_key: str
    exit_code: int | None = None
    signal: int | None = None
    ended_at: datetime


class ServiceRun(Contract):
    """One run of a service, told apart from every other one."""

    id: str
    """Of a process the effect key that started it, of a container its id and start, of a unit its invocation."""
    started_at: datetime
    pid: int | None = None
    """Of its main process, where the host can see one."""
    age_seconds: float = 0
    """Since its start, by a clock that nobody sets."""


class SupervisorFacts(Contract):
    """A supervisor beside BrainOps that restarts the service by itself."""

    name: str
    """`docker` or `systemd`."""
    policy: str
    """As it is configured there, such as `always` or `on-failure`."""
    restarts: int = 0
    """How often it has restarted the service since somebody last started it."""
    gave_up: bool = False
    """It will not try again by itself."""


class ServiceState(Contract):
    """A service as its adapter sees it now."""

    service: str
    status: ServiceStatus
    process: ProcessRecord | None = None
    exit: ExitRecord | None = None
    rss_bytes: int | None = None
    """Resident memory of the process and its descendants."""
    detail: ShortText = ""
    run: ServiceRun | None = None
    """The newest run, of whatever kind."""
    supervisor: SupervisorFacts | None = None
    """None: nobody but BrainOps starts it again."""
    memory_limit_bytes: int | None = None
    """What the kernel enforces for it (cgroup of a container or unit)."""
    memory_killed: bool = False
    """It ended because the kernel's limit on its memory was reached."""
