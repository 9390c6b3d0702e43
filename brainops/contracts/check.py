"""Checks: what one probe saw, and the changes that open and close incidents."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from brainops.contracts.base import DEFAULT_TENANT, Contract, ShortText


class CheckKind(StrEnum):
    """How a service is looked at."""

    HTTP = "http"
    TCP = "tcp"
    PROCESS = "process"
    DNS = "dns"
    HEALTH = "health"
    POSTGRES = "postgres"
    COMMAND = "command"
    HOST = "host"
    LOG = "log"
    HEARTBEAT = "heartbeat"
    PLUGIN = "plugin"


class Reason(StrEnum):
    """Why a probe failed: the field's words, coarse enough to group by."""

    NONE = "none"
    EXITED = "exited"
    NOT_RUNNING = "not_running"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"
    STATUS = "status"
    BODY = "body"
    PROTOCOL = "protocol"
    SLOW = "slow"
    MEMORY = "memory"
    """More memory than its limit, or the machine's is used up."""
    HEADER = "header"
    REDIRECT = "redirect"
    """More redirects than allowed, or in a circle."""
    CERTIFICATE = "certificate"
    """It expires soon, has expired, or cannot be trusted."""
    DNS = "dns"
    """The name has no answer, or another one than expected."""
    HEALTH = "health"
    """The container's own health check fails."""
    EXIT_CODE = "exit_code"
    OUTPUT = "output"
    FILES = "files"
    """More file descriptors than its limit."""
    THREADS = "threads"
    CHILDREN = "children"
    CPU = "cpu"
    DISK = "disk"
    INODES = "inodes"
    SWAP = "swap"
    LOAD = "load"
    CLOCK = "clock"
    QUERY = "query"
    CONNECTIONS = "connections"
    OLD_TRANSACTION = "old_transaction"
    LAG = "lag"
    LOG_RATE = "log_rate"
    NEW_LINES = "new_lines"
    """The log has error lines of a kind that it never had."""
    MISSED = "missed"
    """A heartbeat did not come in time."""
    CONDITION = "condition"
    """A declared condition over a value that has no reason of its own does not hold."""
    FLAPPING = "flapping"
    """It passes and fails in turn."""
    ERROR = "error"


class ProbeResult(Contract):
    """What one probe of one check saw."""

    ok: bool
    reason: Reason = Reason.NONE
    latency_ms: float = 0.0
    detail: ShortText = ""
    """Redacted; what a person would want to read, such as `503 Service Unavailable: store is away`."""


class CheckStatus(StrEnum):
    """A check after hysteresis."""

    UNKNOWN = "unknown"
    PASSING = "passing"
    FAILING = "failing"


class Observation(Contract):
    """A check changed, or still fails and nobody works on it. Sent by signal-with-start to the incident workflow."""

    tenant_id: str = DEFAULT_TENANT
    host: str
    service: str
    check: str
    seq: int = Field(ge=1)
    """Counts the changes of this check for ever; an incident of an older number is a late duplicate."""
    failing: bool
    reason: Reason = Reason.NONE
    detail: ShortText = ""
    at: datetime


class CheckState(Contract):
    """The state of one check as kept in `check_states`."""

    service: str
    check: str
    status: CheckStatus
    seq: int = 0
    reason: Reason = Reason.NONE
    detail: ShortText = ""
    since: datetime
    latency_ms: float | None = None


class Sample(Contract):
    """One probe, kept as a row for uptime and latency."""

    service: str
    check: str
    at: datetime
    ok: bool
    latency_ms: float
