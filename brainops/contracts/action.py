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


Action = Annotated[
    StartService
    | StopService
    | RestartService
    | RestoreFiles
    | PutBackFiles
    | FreePort
    | CleanFolder
    | MakeFolder
    | RunCommand,
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
