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


class ServiceState(Contract):
    """A service as its adapter sees it now."""

    service: str
    status: ServiceStatus
    process: ProcessRecord | None = None
    exit: ExitRecord | None = None
    rss_bytes: int | None = None
    """Resident memory of the process and its descendants."""
    detail: ShortText = ""
