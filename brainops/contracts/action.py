"""Actions: the typed effects that a remedy is made of, and what became of each.

An action says everything that the host needs to carry it out and to refuse it: nothing in it is a shell string.
"""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from brainops.contracts.agent import ActionClass
from brainops.contracts.base import DEFAULT_TENANT, Contract, ShortText


class StartService(Contract):
    """Start a service that does not run."""

    kind: Literal["start_service"] = "start_service"
    service: str


class StopService(Contract):
    """End a service's process and all that it started."""

    kind: Literal["stop_service"] = "stop_service"
    service: str


class RestartService(Contract):
    """End what is left of the service and start it."""

    kind: Literal["restart_service"] = "restart_service"
    service: str


class RestoreFiles(Contract):
    """Put the last known good content and mode of declared files back. `paths`: as declared."""

    kind: Literal["restore_files"] = "restore_files"
    service: str
    paths: tuple[str, ...]


class PutBackFiles(Contract):
    """Undo of `RestoreFiles`: what stood there before. `backup_key`: in object storage."""

    kind: Literal["put_back_files"] = "put_back_files"
    service: str
    backup_key: str


class FreePort(Contract):
    """End the stray process that holds a port. It is named beyond reuse of its pid."""

    kind: Literal["free_port"] = "free_port"
    service: str
    port: int
    pid: int
    start_ticks: int


class CleanFolder(Contract):
    """Delete the files of a declared folder, oldest first, until it is at its declared target."""

    kind: Literal["clean_folder"] = "clean_folder"
    service: str
    path: str


class MakeFolder(Contract):
    """Make a declared folder that is missing. `path`: as declared."""

    kind: Literal["make_folder"] = "make_folder"
    service: str
    path: str


class RunCommand(Contract):
    """Run a command that the configuration declares for the service. `command`: its declared name."""

    kind: Literal["run_command"] = "run_command"
    service: str
    command: str
    undoing: bool = False
    """Run the declared undo of the command instead."""


class AwaitSupervisor(Contract):
    """Leave it to the service's own supervisor, and see whether that helps. Changes nothing."""

    kind: Literal["await_supervisor"] = "await_supervisor"
    service: str


class ReloadService(Contract):
    """Have the service read its configuration and certificates anew, as its `reload` declares."""

    kind: Literal["reload_service"] = "reload_service"
    service: str


class RecreateContainer(Contract):
    """Replace a container by one of its last known good configuration. `container_id`: the one to be replaced."""

    kind: Literal["recreate_container"] = "recreate_container"
    service: str
    container_id: str


class PutBackContainer(Contract):
    """Undo of `RecreateContainer`: the container that was replaced. `container_id`: its own."""

    kind: Literal["put_back_container"] = "put_back_container"
    service: str
    container_id: str


class PruneImages(Contract):
    """Remove build caches and images that nothing uses, oldest first, until all take `target_bytes`, or none is left."""

    kind: Literal["prune_images"] = "prune_images"
    service: str
    target_bytes: int = Field(ge=0)


class VacuumJournal(Contract):
    """Shrink the machine's journal to at most `target_bytes`."""

    kind: Literal["vacuum_journal"] = "vacuum_journal"
    service: str
    target_bytes: int = Field(ge=0)


class RotateLog(Contract):
    """Compress and begin anew a declared log. `path`: as declared."""

    kind: Literal["rotate_log"] = "rotate_log"
    service: str
    path: str


class EndSession(Contract):
    """End a database session. It is named beyond reuse of its pid. `check`: the postgres check that saw it."""

    kind: Literal["end_session"] = "end_session"
    service: str
    check: str
    pid: int
    backend_start: str
    """As the server writes it."""


class ReniceService(Contract):
    """Give a service that is declared of low priority less of the processor, or with `nice` 0 its usual share."""

    kind: Literal["renice_service"] = "renice_service"
    service: str
    nice: int = Field(default=15, ge=0, le=19)


class RaiseMemoryLimit(Contract):
    """Set the limit that the kernel enforces for a container or unit; never over the declared ceiling."""

    kind: Literal["raise_memory_limit"] = "raise_memory_limit"
    service: str
    limit_bytes: int = Field(gt=0)


class PluginAction(Contract):
    """An effect of a package from elsewhere. `plugin`: its entry point; `arguments`: checked by its own model."""

    kind: Literal["plugin"] = "plugin"
    service: str
    plugin: str
    arguments: dict[str, str | int | float | bool] = Field(default_factory=dict[str, str | int | float | bool])


Action = Annotated[
    StartService
    | StopService
    | RestartService
    | RestoreFiles
    | PutBackFiles
    | FreePort
    | CleanFolder
    | MakeFolder
    | RunCommand
    | AwaitSupervisor
    | ReloadService
    | RecreateContainer
    | PutBackContainer
    | PruneImages
    | VacuumJournal
    | RotateLog
    | EndSession
    | ReniceService
    | RaiseMemoryLimit
    | PluginAction,
    Field(discriminator="kind"),
]


class ActionRequest(Contract):
    """Carry out one action of a plan, once."""

    tenant_id: str = DEFAULT_TENANT
    plan_id: UUID
    step: int = Field(ge=1)
    action_class: ActionClass
    service: str
    """The service of the incident, whose autonomy applies."""
    action: Action
    approved: bool = False
    """A person has approved it; the host checks that against the approval's row."""
    undoing: bool = False
    """The action takes back an earlier one of the same plan; needs no further permission."""


class ActionResult(Contract):
    """What became of an action."""

    ok: bool
    summary: ShortText
    """What a person reads: `started as 4711`, or the last log lines of what did not start."""
    undo: Action | None = None
    repeated: bool = False
    """The ledger had it already: nothing was done this time."""
