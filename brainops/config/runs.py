"""How services run: the kinds that `run:` knows. Each kind has an adapter of its own in `brainops/services`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, StringConstraints

from brainops.config.quantities import Duration
from brainops.config.section import Argument, Section

Command = tuple[Argument, ...]
"""Program and arguments. No shell reads it."""

Signal = Literal["SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH"]

DockerName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")]


class ProcessRun(Section):
    """A process that BrainOps starts and keeps running, in a session of its own, beyond BrainOps' own life."""

    kind: Literal["process"] = "process"
    """How the service runs: as a process of its own."""
    command: Command = Field(min_length=1)
    """Program and arguments. No shell reads it."""
    directory: Path = Path()
    """Working directory. Default: the folder of the file."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Added to a small base environment (PATH, HOME, LANG, USER, TZ). `${NAME}` names a variable of BrainOps' own."""
    stop_timeout: Duration = timedelta(seconds=5)
    """From SIGTERM to SIGKILL."""
    reload: Signal | None = None
    """The signal on which it reads its configuration anew. Default: it is restarted instead."""


class DockerRun(Section):
    """A container of a Docker engine. BrainOps never makes one that was not there."""

    kind: Literal["docker"]
    """How the service runs: as a container."""
    container: DockerName
    """Name of the container."""
    endpoint: str | None = None
    """Where the engine listens, such as unix:///var/run/docker.sock. Default: $DOCKER_HOST, else that socket."""
    stop_timeout: Duration = timedelta(seconds=10)
    """From SIGTERM to SIGKILL."""
    reload: Signal | None = None
    """The signal on which its main process reads its configuration anew. Default: it is restarted instead."""


class ComposeRun(Section):
    """A service of a Compose project."""

    kind: Literal["compose"]
    """How the service runs: as part of a Compose project."""
    service: DockerName
    """Name of the service in the Compose file."""
    files: tuple[Path, ...] = (Path("compose.yaml"),)
    """The project's Compose files, later ones over earlier ones."""
    project: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None = None
    """Name of the project. Default: the file's own `name:`, else that of its folder."""
    endpoint: str | None = None
    """Where the engine listens. Default: $DOCKER_HOST, else unix:///var/run/docker.sock."""
    stop_timeout: Duration = timedelta(seconds=10)
    """From SIGTERM to SIGKILL."""
    reload: Signal | None = None
    """The signal on which its main process reads its configuration anew. Default: it is restarted instead."""


class SystemdRun(Section):
    """A systemd unit."""

    kind: Literal["systemd"]
    """How the service runs: as a unit."""
    unit: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_.@\\-]{1,240}\.(service|socket|timer|mount)$")]
    """Name of the unit with its suffix, such as nginx.service."""
    scope: Literal["system", "user"] = "system"
    """Whose manager has it: the machine's, or that of the user of BrainOps."""
    reload: bool = False
    """Whether `systemctl reload` makes it read its configuration anew. Default: it is restarted instead."""


class CommandRun(Section):
    """Whatever your own commands start, stop and look at."""

    kind: Literal["command"]
    """How the service runs: by your own commands."""
    start: Command = Field(min_length=1)
    """Starts it and ends. Exit code 0: it was started."""
    stop: Command = Field(min_length=1)
    """Ends it. Exit code 0: it has ended."""
    status: Command = ()
    """Exit code 0: it runs; 3: it does not (as LSB init scripts say). Empty: `pid_file` or only its checks tell."""
    pid_file: Path | None = None
    """Where it writes the pid of its main process. Then its end is seen at once, and its limits are measured."""
    restart: Command = ()
    """Empty: stop and start."""
    reload: Command = ()
    """Has it read its configuration anew. Empty: it is restarted instead."""
    directory: Path = Path()
    """Working directory of the commands. Default: the folder of the file."""
    environment: dict[str, str] = Field(default_factory=dict)
    """Added to a small base environment. `${NAME}` names a variable of BrainOps' own."""
    timeout: Duration = Field(default=timedelta(seconds=30), le=timedelta(minutes=30))
    """A command that takes longer is ended and has failed; at most 30m."""
    log: Path | None = None
    """The file that the service writes its log to."""


class HostRun(Section):
    """The machine itself: nothing to start or stop, but disks, memory and logs to look after."""

    kind: Literal["host"]
    """It is the machine."""


class ExternalRun(Section):
    """What somebody else runs: BrainOps only looks at it, and tells."""

    kind: Literal["external"]
    """How the service runs: elsewhere."""


def _process_by_default(value: Any) -> Any:
    """`run:` without a kind is a process. Any: whatever stands in the file."""
    if isinstance(value, dict):
        return {"kind": "process", **cast("dict[Any, Any]", value)}
    return value


Run = Annotated[
    ProcessRun | DockerRun | ComposeRun | SystemdRun | CommandRun | HostRun | ExternalRun,
    Field(discriminator="kind"),
    BeforeValidator(_process_by_default),
]
"""How a service runs. Without `kind` it is a process."""
