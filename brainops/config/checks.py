"""How services are looked at: the kinds that `checks:` knows. Each kind has a probe of its own in `brainops/checks`."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from brainops.config.conditions import ConditionText
from brainops.config.patterns import Pattern
from brainops.config.quantities import ByteSize, Duration, Percent
from brainops.config.runs import Command
from brainops.config.section import Name, Section

_LONGEST_LABEL = 63

PROCESS_CHECK = "process"
"""Name of the check that every service with a process of its own has, declared or not."""


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
    conditions: tuple[ConditionText, ...] = ()
    """What else must hold, such as `[RESPONSE_TIME] < 300ms`; each kind has its own values."""


class HttpCheck(CheckTiming):
    """Ask a URL; the answer's status, headers, body, time and certificate are judged."""

    kind: Literal["http"] = "http"
    """This check asks over HTTP."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
    """The address that is asked, http or https."""
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT"] = "GET"
    """How it is asked."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent along. `${NAME}` names a variable of BrainOps' own."""
    body: str | None = None
    """Sent along. `${NAME}` names a variable of BrainOps' own."""
    expect_status: tuple[Annotated[int, Field(ge=100, le=599)], ...] = (200,)
    """Status codes of a good answer."""
    expect_body: str | None = None
    """Text that the first 64 KiB of the body must contain."""
    max_latency: Duration | None = None
    """A slower answer is a failed probe."""
    redirects: int = Field(default=0, ge=0, le=20)
    """How many redirects are followed; 0: a redirect is the answer. At most 20."""
    certificate_valid_for: Duration | None = None
    """A certificate that expires sooner is a failed probe. Default: only one that is not valid now is."""
    verify: bool = True
    """False: a certificate that nobody trusts is good enough."""
    ca: Path | None = None
    """Certificates (PEM) of the authorities to trust. Default: the system's."""
    client_certificate: Path | None = None
    """Certificate (PEM) that BrainOps shows."""
    client_key: Path | None = None
    """Its private key (PEM). Default: it is in the same file."""


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
    """This check looks at the process itself, or at the container or unit."""


def _name_of_dns(name: str) -> str:
    labels = name.rstrip(".").split(".") if name != "." else []
    if any(not 1 <= len(label.encode()) <= _LONGEST_LABEL for label in labels):
        raise ValueError(f"{name[:80]!r} is no name of DNS; write one such as shop.example.com")
    return name


def _address(server: str) -> str:
    try:
        return str(ip_address(server))
    except ValueError:
        raise ValueError(f"{server[:80]!r} is not an address; write one such as 192.0.2.53") from None


class DnsCheck(CheckTiming):
    """Ask for a name."""

    kind: Literal["dns"]
    """This check resolves a name."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=253), AfterValidator(_name_of_dns)]
    """The name that is asked for, whole; for PTR, an address will do."""
    type: Literal["A", "AAAA", "CAA", "CNAME", "MX", "NS", "PTR", "SOA", "SRV", "TXT"] = "A"
    """Type of the record."""
    server: Annotated[str, AfterValidator(_address)] | None = None
    """Address of the server that is asked. Default: the machine's own resolvers."""
    port: int = Field(default=53, ge=1, le=65535)
    """Port of that server."""
    expect: tuple[str, ...] = ()
    """Values that must be among the answers. Empty: any answer."""


class HealthCheck(CheckTiming):
    """The health check that the image or the Compose file itself brings; its changes are told by the engine."""

    kind: Literal["health"]
    """This check asks the Docker engine how the container's own health check goes."""


class PostgresCheck(CheckTiming):
    """Log in to a PostgreSQL server and look around."""

    kind: Literal["postgres"]
    """This check asks a PostgreSQL server."""
    url: Annotated[str, StringConstraints(min_length=1)]
    """Where to log in, such as `${SHOP_DATABASE_URL}` or postgresql://watcher:${PASSWORD}@127.0.0.1/shop."""
    query: str | None = None
    """One query; the first value of its first row is `[RESULT]`. It runs in a read-only transaction."""
    max_connections_used: Percent | None = None
    """Of `max_connections`."""
    max_transaction_age: Duration | None = None
    """Of the oldest open transaction."""
    max_lag: Duration | None = None
    """Of a standby behind its primary, on either side."""
    max_size: ByteSize | None = None
    """Of the database."""


class CommandCheck(CheckTiming):
    """Run a command of yours; its exit code and its first 64 KiB of output are judged."""

    kind: Literal["command"]
    """This check runs a command."""
    run: Command = Field(min_length=1)
    """Program and arguments, run in the folder of the file. No shell reads it."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Added to a small base environment. `${NAME}` names a variable of BrainOps' own."""
    expect_exit_code: tuple[Annotated[int, Field(ge=0, le=255)], ...] = (0,)
    """Exit codes of a good answer."""
    expect_output: str | None = None
    """Text that the output must contain."""


class HostCheck(CheckTiming):
    """The machine: its disks, memory, processors and clock. With nothing named: disk, inodes and memory at 90%."""

    kind: Literal["host"]
    """This check looks at the machine."""
    path: Path = Path("/")
    """The file system that disk and inodes are about."""
    max_disk_used: Percent | None = None
    """Of what a user other than root may fill."""
    min_disk_free: ByteSize | None = None
    """Less is a failed probe."""
    max_inodes_used: Percent | None = None
    """Where the file system counts them."""
    max_memory_used: Percent | None = None
    """Without what the kernel gives back when it is asked for."""
    max_swap_used: Percent | None = None
    """Where there is swap."""
    max_cpu_used: Percent | None = None
    """Of all processors, since the last probe."""
    max_load: float | None = Field(default=None, gt=0)
    """Of the last minute, for each processor."""
    max_clock_jump: Duration | None = None
    """By how much the clock may have been set since the last probe."""


class LogCheck(CheckTiming):
    """What the service writes: how often a pattern comes, and error lines of kinds that were never there."""

    kind: Literal["log"]
    """This check reads a log."""
    path: Path | None = None
    """The file. Default: the output of the service itself."""
    pattern: Pattern | None = None
    """RE2 regular expression of the lines that count. Default: error-like lines."""
    ignore: tuple[Pattern, ...] = ()
    """RE2 regular expressions of lines that never count."""
    max_matches: int | None = Field(default=None, ge=0)
    """More lines than this within the window are a failed probe."""
    within: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=1), le=timedelta(days=1))
    """The window."""
    new_kinds: bool = False
    """Whether an error-like line of a kind that was not seen before is a failed probe."""


class HeartbeatCheck(CheckTiming):
    """A dead man's switch: a job that must report over HTTP, and fails when it does not."""

    kind: Literal["heartbeat"]
    """This check waits for reports of a job."""
    heartbeat: Name
    """Name under which it reports: POST /v1/heartbeats/NAME."""
    period: Duration = Field(ge=timedelta(seconds=1), le=timedelta(days=366))
    """How often it must report."""
    grace: Duration = timedelta(minutes=1)
    """How late it may be."""


class PluginCheck(CheckTiming):
    """A check that an installed package brings (entry points `brainops.checks`)."""

    kind: Literal["plugin"]
    """This check is of a package from elsewhere."""
    use: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
    """Name of its entry point; `brainops plugins` lists what is installed."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What the package wants to know; it says itself what that is. Any: its own model reads it."""


CheckConfig = (
    HttpCheck
    | TcpCheck
    | ProcessCheck
    | DnsCheck
    | HealthCheck
    | PostgresCheck
    | CommandCheck
    | HostCheck
    | LogCheck
    | HeartbeatCheck
    | PluginCheck
)
"""A check of any kind."""

Check = Annotated[CheckConfig, Field(discriminator="kind")]
"""A check as the file names it, by its kind."""
