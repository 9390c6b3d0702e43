"""The remedy: write the marker file anew."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from brainops.config.checks import PluginCheck
from brainops.config.models import Service
from brainops.contracts.action import ActionResult, PluginAction
from brainops.contracts.agent import ActionClass
from brainops.contracts.incident import Candidate, Evidence
from brainops.errors import ActionError, NotAllowedError
from brainops.remedies.base import Call, Remedy, RemedyContext
from brainops.remedies.plugin import PackageHandler

NAME = "write_marker"


class Arguments(BaseModel):
    """What the handler must be told."""

    model_config = ConfigDict(extra="forbid")

    path: str


class WriteMarkerHandler(PackageHandler[Arguments]):
    """Writes the file. It may be asked again under the same effect key, and then does no more than finish."""

    arguments = Arguments

    def authorize(self, action: PluginAction, call: Call, /) -> None:
        # A workflow can be started by whoever reaches Temporal: only what the file declares may be touched.
        if action.arguments.get("path") not in _declared(call.service):
            raise NotAllowedError(
                f"{call.service_name} has no marker_file check of that path; declare it under "
                f"services.{call.service_name}.checks"
            )

    async def do(self, arguments: Arguments, call: Call, /) -> ActionResult:
        try:
            await asyncio.to_thread(self._path(arguments).write_text, f"{call.effect_key}\n")
        except OSError as error:
            raise ActionError(f"{arguments.path} cannot be written: {error.strerror}") from error
        return ActionResult(ok=True, summary=f"wrote {arguments.path}")

    async def look(self, arguments: Arguments, _call: Call, /) -> ActionResult | None:
        if await asyncio.to_thread(self._path(arguments).exists):
            return ActionResult(ok=True, summary=f"{arguments.path} is there")
        return None

    def _path(self, arguments: Arguments) -> Path:
        return self._tools.directory / arguments.path


class WriteMarker(Remedy):
    """Write the marker file of a failing marker_file check."""

    name = NAME  # as its entry point; kept in the knowledge base: it never changes
    action_class = ActionClass.PLUGIN  # autonomy is granted under `plugin`
    cost = 0  # of being wrong: 0 none, 1 a restart, 2 other services notice, 3 something is lost
    rank = 50  # of remedies that cost the same, the smaller comes first
    handlers = (WriteMarkerHandler,)
    uses = (PluginAction,)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        check = service.checks.get(evidence.check)
        if not isinstance(check, PluginCheck) or check.use != "marker_file":
            return ()
        path = str(check.options["path"])
        action = PluginAction(service=context.service, plugin=NAME, arguments={"path": path})
        return (self.candidate([action], f"the marker file {path} is gone", explains=True),)


def _declared(service: Service) -> set[str]:
    checks = (check for check in service.checks.values() if isinstance(check, PluginCheck))
    return {str(check.options.get("path")) for check in checks if check.use == "marker_file"}
